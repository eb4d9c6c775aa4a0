/*
 * What a name under a zone means, by its form alone: the table of names as code. Pure; knows
 * nothing of what exists.
 */
#pragma once

#include <stdint.h>

#include "nomad/need.h"
#include "nomad/zone.h"
#include "nomad/zone_settings.h"

enum place_kind {
	PLACE_APEX,	  /* <zone> */
	PLACE_SERVER,	  /* ns.<zone>: the name server itself */
	PLACE_NAMESPACE,  /* <namespace>.<zone> */
	PLACE_UNDERSCORE, /* _tcp.<namespace>.<zone>, _<tag>.<namespace>.<zone>: above the RFC 2782
			     forms */
	PLACE_SERVICE,	  /* <service>.<namespace>.<zone> */
	PLACE_BELOW,	  /* <tag or address>.<service>.<namespace>.<zone> */
	PLACE_SRV,	  /* _<service>._tcp.<namespace>.<zone>, ._udp: SRV only (RFC 2782) */
	PLACE_SRV_TAG,	  /* _<service>._<tag>.<namespace>.<zone> */
	PLACE_NOWHERE,	  /* no such form: cannot exist */
};

struct place {
	enum place_kind kind;
	const uint8_t *label; /* BELOW, SRV_TAG, UNDERSCORE: the first label's text without '_',
				 folded; else NULL */
	uint8_t label_length;
	uint8_t namespace_at, service_at; /* the labels' length bytes in owner[]; service 0 (and no
					     service) for namespaces */
	bool has_service;
	uint8_t owner_length; /* of the zone name to look up: the service's or the namespace's; 0:
				 none */
	uint8_t owner[DNS_NAME_MAX];
};

/* Finds the place of a folded name that lies in `apex`. `label` points into `folded`. */
void place_find(const uint8_t *folded, uint8_t length, const struct zone_apex *apex,
		struct place *out);

/* The owner of the place's namespace, inside owner[]. */
static inline const uint8_t *place_namespace(const struct place *place, size_t *out_length)
{
	*out_length = (size_t)place->owner_length - place->namespace_at;
	return place->owner + place->namespace_at;
}

/* The message that asks Nomad for this place. */
void place_need(const struct place *place, enum need_kind kind, uint8_t worker, struct need *out);
