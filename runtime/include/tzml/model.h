/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loaded model: from a bundle that comes piece by piece to answers. The
 * TA and the normal-world library run this same code; what differs between
 * the worlds is in struct tzml_platform. A world loads only what it reads: the
 * programs that may run there, and their memory.
 *
 *	tzml_model_open(&model, platform, context, header, size);
 *	tzml_model_take_grant(&model, grant, size);	if it is sealed
 *	LOAD
 *	tzml_model_start(&model, program, inputs, inputs_size);
 *	do {
 *		tzml_model_continue(&model, outputs, outputs_size);
 *		LOAD
 *	} while (tzml_model_running(&model));
 *	tzml_model_close(&model);
 *
 * LOAD is: as long as a section is wanted, hand over its next bytes.
 *
 *	while ((section = tzml_model_wanted(&model)) != TZML_NO_SECTION)
 *		tzml_model_load(&model, section, offset, piece, size);
 *
 * Chunks of weights that have a place of their own are loaded once. Those that
 * share one are loaded when a call takes them: so a model may be larger than
 * the memory it runs in.
 *
 * What is handed over may lie in memory that somebody else writes to at any
 * time: it is copied once, and only the copy is looked at.
 */
#ifndef TZML_MODEL_H
#define TZML_MODEL_H

#include <stdbool.h>
#include <tzml/bundle.h>
#include <tzml/plan.h>
#include <tzml/platform.h>

struct tzml_block {
	void *data;
	size_t size;
};

enum tzml_model_state {
	TZML_MODEL_CLOSED = 0,
	TZML_MODEL_LOADING,
	TZML_MODEL_READY,
	TZML_MODEL_RUNNING,
};

/* A checkpoint that is being saved or restored, segment by segment. */
struct tzml_transfer {
	enum { TZML_NO_TRANSFER = 0, TZML_SAVING, TZML_RESTORING } direction;
	uint32_t kind; /* enum tzml_checkpoint_kind */
	uint64_t number;
	uint64_t updates;
	uint64_t size;			  /* bytes of the state */
	uint64_t done;			  /* of them */
	uint8_t digest[TZML_DIGEST_SIZE]; /* of the header */
	uint8_t key[TZML_SECRET_SIZE];
};

/* Bytes of the arena, sorted and apart. */
#define TZML_LIVE_RANGES 16

struct tzml_live {
	uint32_t count;
	struct tzml_range {
		uint64_t start;
		uint64_t end;
	} ranges[TZML_LIVE_RANGES];
};

/* Where samples wait for a chunk, and what each has then. */
struct tzml_stop {
	struct tzml_position position;
	struct tzml_live live; /* unused at the first stop, the beginning */
};

/* Several samples that are run at once. */
struct tzml_batch {
	uint32_t samples; /* 0: the run is one of a single sample, or none */
	uint32_t stop;	  /* from which they go on */
	uint32_t stop_count;
	uint64_t slot;		  /* bytes of what one sample has at a stop */
	struct tzml_block stops;  /* struct tzml_stop each */
	struct tzml_block parked; /* a slot each sample */
};

/*
 * Runs that were answered within a budget, and how often each may be repeated
 * without counting (runtime/repeat.h).
 */
#define TZML_KNOWN_REQUESTS 32
#define TZML_FREE_RUNS	    3

struct tzml_known_request {
	uint8_t digest[TZML_DIGEST_SIZE]; /* of the request and its inputs */
	uint32_t free_runs;		  /* that are left; 0: there is none */
};

struct tzml_repeats {
	struct tzml_known_request known[TZML_KNOWN_REQUESTS];
	uint32_t answered; /* the next takes the oldest one's place */
	bool pending;	   /* the run that is under way is to be known */
	uint8_t digest[TZML_DIGEST_SIZE]; /* of that run */
};

struct tzml_model {
	enum tzml_model_state state;
	const struct tzml_platform *platform;
	void *context; /* of the platform */

	struct tzml_block header; /* with the section table */
	struct tzml_block tables; /* interface, memory, plans, `present` */
	struct tzml_block kernels_image; /* only until it is opened */
	struct tzml_block arena;
	struct tzml_block weights; /* where chunks are loaded to */
	struct tzml_block state_memory;

	struct tzml_interface interface;
	struct tzml_layout layout;
	uint32_t layout_section; /* the memory section that it is */
	struct tzml_plan plans[TZML_MAX_PROGRAMS];	   /* by program */
	struct tzml_kernels libraries[TZML_MAX_LIBRARIES]; /* by number */
	bool *present; /* of each chunk: is it there? */

	uint32_t wanted;  /* section to load next, or TZML_NO_SECTION */
	uint64_t loaded;  /* bytes of it that came */
	uint32_t program; /* of the run that is under way */
	struct tzml_position position;
	struct tzml_batch batch;
	bool sealed_run;      /* of a record: only one takes its outputs */
	bool state_lost;      /* half changed by what did not end */
	uint64_t updates;     /* runs of that role that made the state */
	uint64_t checkpoint;  /* the one it comes from; 0: the bundle */
	uint64_t unconfirmed; /* number of one that was saved, or 0 */
	uint64_t round;	      /* of the global model it comes from, or 0 */
	struct tzml_transfer transfer;

	bool granted; /* what follows is there */
	struct tzml_grant grant;
	uint8_t content_key[TZML_SECRET_SIZE];
	uint64_t runs_left; /* of the budget, already taken from it */
	struct tzml_repeats repeats;
};

/*
 * Take a bundle's header and section table, `size` bytes, into `model`, which
 * is closed or all zero. An error leaves it closed.
 */
enum tzml_status tzml_model_open(struct tzml_model *model,
				 const struct tzml_platform *platform,
				 void *context, const void *header,
				 size_t size);

/*
 * Take the grant for a sealed bundle, before any section is loaded. It is
 * copied once. Any error but TZML_ERROR_STATE closes the model.
 */
enum tzml_status tzml_model_take_grant(struct tzml_model *model,
				       const void *grant, size_t size);

/* The section to load next, or TZML_NO_SECTION. */
static inline uint32_t tzml_model_wanted(const struct tzml_model *model)
{
	return model->state == TZML_MODEL_CLOSED ? TZML_NO_SECTION
						 : model->wanted;
}

/*
 * Take the next bytes of the wanted section. When they complete it, it is
 * checked and put to use. Any error but TZML_ERROR_STATE closes the model.
 */
enum tzml_status tzml_model_load(struct tzml_model *model, uint32_t section,
				 uint64_t offset, const void *data,
				 size_t size);

/*
 * The plan of a program that this world runs, or NULL: also before the model
 * is loaded.
 */
const struct tzml_plan *tzml_model_plan(const struct tzml_model *model,
					uint32_t program);

/*
 * Begin to run a program. The inputs lie back to back in the order of its
 * ports and have exactly their sizes. A run that was under way is given up.
 */
enum tzml_status tzml_model_start(struct tzml_model *model, uint32_t program,
				  const void *inputs, size_t inputs_size);

/*
 * The same for a request with an id. If it was answered in this session, with
 * the same inputs, and neither more than TZML_KNOWN_REQUESTS others ago nor
 * TZML_FREE_RUNS times since, it costs nothing of the budget.
 */
enum tzml_status tzml_model_start_request(struct tzml_model *model,
					  uint32_t program,
					  const uint8_t id[TZML_REQUEST_SIZE],
					  const void *inputs,
					  size_t inputs_size);

/*
 * Go on until a section is wanted, or to the end, where the outputs, back to
 * back and exactly as large as the ports say, are written.
 */
enum tzml_status tzml_model_continue(struct tzml_model *model, void *outputs,
				     size_t outputs_size);

/*
 * Begin to run a program on several samples, at most TZML_MAX_SAMPLES: chunks
 * are loaded once for all of them. The program changes no state. Takes memory
 * for what samples have while others are run, besides the model's, and the
 * budget of all samples. A run that was under way is given up.
 */
enum tzml_status tzml_batch_start(struct tzml_model *model, uint32_t program,
				  uint32_t samples);

/*
 * Go on until a section is wanted, or to the end. Inputs lie back to back,
 * sample by sample, and so do outputs, which are written one after the other,
 * some of them also before an error. Each call is given both.
 */
enum tzml_status tzml_batch_continue(struct tzml_model *model,
				     const void *inputs, size_t inputs_size,
				     void *outputs, size_t outputs_size);

/* Whether a run was started and is not at its end. */
static inline bool tzml_model_running(const struct tzml_model *model)
{
	return model->state == TZML_MODEL_RUNNING;
}

/*
 * Give the state its initial content again, for which sections are wanted
 * then. A run that was under way is given up.
 */
enum tzml_status tzml_model_reset(struct tzml_model *model);

/* Flags of tzml_model_save. */
#define TZML_SAVE_EXPORT  1 /* to the grant's export key */
#define TZML_SAVE_GIVE_UP 2 /* the checkpoint that is not continued, if any */
#define TZML_SAVE_FLAGS	  3

/*
 * Begin to save the state: its header is written to `checkpoint`. The caller's
 * note goes along, which is authenticated and no secret. Then all segments are
 * taken, in order; a run, or what else begins, gives it up.
 */
enum tzml_status tzml_model_save(struct tzml_model *model, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 void *checkpoint);

/* Bytes of the next segment with its tag; 0: there is none. */
size_t tzml_model_segment(const struct tzml_model *model);

/* Write the next segment with its tag, `size` bytes. */
enum tzml_status tzml_model_save_segment(struct tzml_model *model, void *data,
					 size_t size);

/*
 * The checkpoint that was saved last will be there after a power cut: those
 * before it are refused from now on.
 */
enum tzml_status tzml_model_confirm(struct tzml_model *model);

/*
 * Begin to restore the state from a checkpoint with that header, `size` bytes.
 * Segments follow in order. The state is lost from the first that is right to
 * the last: what is wrong with the header or the first segment changes nothing.
 */
enum tzml_status tzml_model_restore(struct tzml_model *model,
				    const void *checkpoint, size_t size);
enum tzml_status tzml_model_restore_segment(struct tzml_model *model,
					    const void *data, size_t size);

/* Give back and wipe everything; a closed model may be closed again. */
void tzml_model_close(struct tzml_model *model);

#endif /* TZML_MODEL_H */
