/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Open Inference Protocol, version 2, over REST: what a body says becomes
 * tensors, and tensors become a body. Nothing here knows HTTP or a session.
 * https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 * Binary tensors and sequences: Triton's protocol extensions of these names.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include "signature.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes behind a body that may be read, whatever they are: simdjson's rule. */
#define REQUEST_PADDING 64

/* Bytes of an id, and of a sequence's id, with the end. */
#define ID_SIZE 257

/* An output that was asked for. */
struct wanted {
	uint32_t output;
	bool binary;
};

struct request {
	char id[ID_SIZE]; /* empty: none was given */
	uint32_t samples;
	uint8_t *
		inputs; /* a sample after the other, each as tzml_run wants it */
	bool inputs_in_body; /* they are the body's, and not copied */
	struct wanted *wanted;
	uint32_t wanted_count;
	/* an integer is kept as its digits behind '#', a string behind '$' */
	char sequence[ID_SIZE];
	bool sequence_start;
	bool sequence_end;
	char error[512]; /* what is wrong with the request */
};

/*
 * Read a request of which the first `json_size` bytes are JSON and the others
 * are binary tensors. Returns 0, or the HTTP status for request->error. The
 * request is to be freed in any case.
 */
unsigned int request_read(struct request *request,
			  const struct signature *signature, const char *body,
			  size_t size, size_t json_size, uint32_t most_samples);
void request_free(struct request *request);

/* A body; `json_size` is below `size` if binary tensors follow the JSON. */
struct text {
	char *data;
	size_t size;
	size_t room;
	bool failed; /* without memory: data is NULL */
};

void text_put(struct text *text, const void *data, size_t size);
void text_print(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* As a JSON string, with quotes. */
void text_quote(struct text *text, const char *string);
void text_free(struct text *text);

/*
 * Write the answer of `outputs`, a sample after the other. Returns 0, or the
 * HTTP status for request->error.
 */
unsigned int answer_write(struct request *request,
			  const struct signature *signature,
			  const char *model_name, const uint8_t *outputs,
			  struct text *text, size_t *json_size);

void error_write(struct text *text, const char *message);
void server_metadata_write(struct text *text);
void model_metadata_write(struct text *text, const char *name,
			  const struct signature *signature);

#ifdef __cplusplus
}
#endif

#endif /* PROTOCOL_H */
