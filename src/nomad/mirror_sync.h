/*
 * The order of tier "stream": the streams are opened, everything is listed (mirror_sync_list.c),
 * what came meanwhile is applied (mirror_sync_apply.c), and then what comes; what turns out to be
 * missing (mirror_sync_heard.c) begins it again. It owns the list under way. The connections are
 * mirror_stream's; the truth itself is the catalogue's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "nomad/mirror_census.h"
#include "nomad/mirror_doubt.h"
#include "nomad/mirror_queue.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_stream.h"
#include "nomad/mirror_sync_heard.h"

struct call;
struct catalogue_all;
struct mirror;

enum sync_phase {
	SYNC_OFF,
	SYNC_WAITING, /* until retry_at_ms, then the stream is opened */
	SYNC_OPENING, /* asked for; its first line is waited for */
	SYNC_PROBING, /* open again: was anything missed? */
	SYNC_LISTING,
	SYNC_LIVE,
	SYNC_REFUSED,
};

#define SYNC_SEEN 1024 /* frames whose indexes are remembered */

struct sync {
	enum sync_phase phase;
	struct stream_leg legs[SCOPE_MAX];
	size_t leg_count, open_count;
	uint64_t live_ms, listed_ms;	 /* listed_ms 0: never */
	uint64_t retry_at_ms, opened_ms; /* opened_ms: when the streams were asked for */
	unsigned step, refusals;
	bool must_list;	      /* what we have may have holes */
	bool was_denied;      /* REFUSED: for want of rights */
	unsigned quick_lists; /* lists that need not wait for their turn */
	struct frame_queue queue;
	uint64_t base_index;		  /* as of the list */
	uint64_t index;			  /* everything up to here is applied */
	uint64_t index_hash;		  /* of the frame with that index; 0: none was seen */
	uint64_t seen[SYNC_SEEN];	  /* indexes of frames, each at its place by remainder */
	struct told told[SCOPE_MAX];	  /* of each namespace, unless one stream tells of all */
	uint64_t heard_index;		  /* the highest that anybody told of the table */
	uint64_t behind_index, behind_ms; /* since when the stream has not got there */
	size_t behind_at;		  /* whose; SYNC_ANYWHERE: any */
	bool is_doubtful;		  /* for so long that what is held was made old */
	unsigned vain_doubts;		  /* in a row: what was missing came */
	uint64_t audit_at_ms, audited_ms; /* at 0: none planned */
	uint64_t list_at_ms;		  /* 0: not waiting for its turn */
	struct call *call;		  /* the list or probe under way */
	struct catalogue_all *listing;
	size_t list_at;	     /* which namespace of the scope */
	uint64_t list_index; /* the lowest of them */
	char why[160];	     /* there is no stream, for the operator; "": none is wanted */
	struct log_brake bad_brake, back_brake;
	uint64_t owed_index;  /* the stream before this one had not got there; 0: it had */
	uint64_t since_index; /* where the next stream begins; 0: where the last one ended */
	bool is_relisting;    /* a list against doubts: what is told meanwhile is queued */
	struct census census;
	struct doubt doubt;
};

void mirror_sync_start(struct mirror *mirror);
void mirror_sync_stop(struct mirror *mirror);
uint64_t mirror_sync_tick(struct mirror *mirror, uint64_t now_ms);

/* The world may have changed: what waits or was refused is tried at once. */
void mirror_sync_retry(struct mirror *mirror);

/* The stream is over, or cannot be believed: it is opened again, soon. */
void mirror_sync_again(struct mirror *mirror, bool must_list, const char *why);

/* There can be none: it is tried again some minutes later. `was_denied`: for want of rights. */
void mirror_sync_refuse(struct mirror *mirror, bool was_denied, const char *why);

/* The stream knows nothing of a namespace that came at `index`: another one does. */
void mirror_sync_grow(struct mirror *mirror, uint64_t index);

/* The table went back to `index` (a restored snapshot, another cluster): nothing of before can be
 * compared with what comes. */
void mirror_sync_back(struct mirror *mirror, uint64_t index);

/* From mirror_stream: all are open; one has a line, of whatever length; one is over. */
void mirror_sync_on_open(struct mirror *mirror);
void mirror_sync_on_line(struct mirror *mirror, const char *line, size_t length);
void mirror_sync_on_end(struct mirror *mirror, enum stream_end end, const char *why);

/* Lists everything, now or when it is its turn; then goes live, or begins again. */
void mirror_sync_list(struct mirror *mirror);

/* Something changed while a list against doubts is under way, which only that will bring: what was
 * the truth until now is not any more. */
void mirror_sync_lapse(struct mirror *mirror);

/* What was read of it so far is worth nothing: the list fails at its next part. */
void mirror_sync_drop_list(struct mirror *mirror);

/* All is known: applies what was queued meanwhile, and is live unless that has ended it. */
void mirror_sync_go_live(struct mirror *mirror);

/* Makes one frame a change of the catalogue. What makes no sense is counted and passed over. */
void mirror_sync_apply(struct mirror *mirror, const char *line, size_t length);
