/*
 * The two messages between the planes about names: a worker needs one, and Nomad's word on it has
 * come. Names travel as folded labels; copies, never pointers. Identical needs of one worker are
 * one message (nomad_stage keeps the waiting).
 */
#pragma once

#include <stdint.h>

#include "dns/dns.h"

enum need_kind {
	NEED_NAMESPACE, /* which services this namespace has */
	NEED_SERVICE,	/* this service's instances; its namespace's list first if that is what it
			   takes */
	NEED_REFRESH,	/* the same, but nobody waits: the answer is about to get old */
};

enum need_outcome {
	NEED_NONE,
	NEED_CAME,	 /* the zone now holds the truth: look again */
	NEED_LOST,	 /* Nomad cannot be reached, or made no sense */
	NEED_DENIED,	 /* Nomad refuses the token */
	NEED_NOT_READY,	 /* Nomad has not said a word since we started */
	NEED_OVER_LIMIT, /* too many needs under way */
	NEED_LATE, /* no word yet, and the client will not wait longer (the worker says so itself)
		    */
};

struct need {		/* worker → control plane */
	uint8_t kind;	/* enum need_kind */
	uint8_t worker; /* who asks */
	uint8_t namespace_length, service_length;
	char namespace_label[DNS_LABEL_MAX];
	char service_label[DNS_LABEL_MAX]; /* folded; length 0 for NEED_NAMESPACE */
};

struct need_word {	  /* control plane → worker */
	uint8_t outcome;  /* enum need_outcome */
	struct need need; /* as it was asked */
};
