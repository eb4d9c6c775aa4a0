/*
 * The repeatable options: each parser adds one value to its list in struct config, each clear
 * empties it. As in option_value.h: 0, -ENOMEM, or -EINVAL with `why`, and the list is untouched on
 * failure.
 */
#pragma once

#include "config/option_value.h"

OPTION_PARSER(option_list_add_listen);
OPTION_PARSER(option_list_add_allow);
OPTION_PARSER(option_list_add_nomad_address);
OPTION_PARSER(option_list_add_namespace);
OPTION_PARSER(option_list_add_zone);
OPTION_PARSER(option_list_add_forward);

void option_list_clear_listen(struct config *config);
void option_list_clear_allow(struct config *config);
void option_list_clear_nomad_address(struct config *config);
void option_list_clear_namespace(struct config *config);
void option_list_clear_zone(struct config *config);
void option_list_clear_forward(struct config *config);
