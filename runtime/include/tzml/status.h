/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_STATUS_H
#define TZML_STATUS_H

#include <stdint.h>

/*
 * One list of errors for both worlds. The Trusted Application returns these
 * codes as its TEE_Result: GlobalPlatform leaves 0x00000001..0x6fffffff to
 * Trusted Applications (TEE Internal Core API 1.3, 3.3.1), and 0x545a4d is
 * "TZM". A code never changes its meaning: clients of older versions have it.
 *
 * X(name, code, what happened, what to do about it)
 */
#define TZML_STATUS_LIST(X)                                                    \
	X(TRUNCATED, 0x545a4d01, "the bundle is shorter than its header says", \
	  "copy or compile the bundle again")                                  \
	X(NOT_A_BUNDLE, 0x545a4d02, "the file is not a tzml bundle",           \
	  "give the .tzm file that `tzml compile` wrote")                      \
	X(FORMAT_VERSION, 0x545a4d03,                                          \
	  "the bundle has a format version this program does not know",        \
	  "compile the model again with the tzml version that is on the "      \
	  "device, or update tzml there")                                      \
	X(HEADER_MALFORMED, 0x545a4d04,                                        \
	  "a field of the bundle's header is out of range",                    \
	  "copy or compile the bundle again")                                  \
	X(SECTION_TABLE, 0x545a4d05,                                           \
	  "the bundle's sections overlap, overflow or are out of order",       \
	  "copy or compile the bundle again")                                  \
	X(HEADER_DIGEST, 0x545a4d06,                                           \
	  "the bundle's header does not match its digest",                     \
	  "the file was changed or damaged: copy or compile it again")         \
	X(SECTION_DIGEST, 0x545a4d07,                                          \
	  "a section of the bundle does not match its digest",                 \
	  "the file was changed or damaged: copy or compile it again")         \
	X(WRONG_TARGET, 0x545a4d08,                                            \
	  "the bundle was compiled for another processor",                     \
	  "compile the model with --target for this device")                   \
	X(PROTECTION, 0x545a4d09,                                              \
	  "the bundle is protected in a way this program does not support",    \
	  "update tzml on the device, or compile a clear bundle")              \
	X(PLAN_MALFORMED, 0x545a4d0a,                                          \
	  "the plan has an offset, size or count out of range",                \
	  "copy or compile the bundle again")                                  \
	X(KERNEL_MISSING, 0x545a4d0b,                                          \
	  "the plan calls a kernel that the kernel library does not have",     \
	  "compile the model again, plan and kernels together")                \
	X(KERNEL_MISMATCH, 0x545a4d0c,                                         \
	  "the plan calls a kernel with arguments it does not take",           \
	  "compile the model again, plan and kernels together")                \
	X(KERNELS_REFUSED, 0x545a4d0d,                                         \
	  "OP-TEE refused the kernel library's signature",                     \
	  "sign the bundle with the key this image was built with")            \
	X(KERNELS_CHANGED, 0x545a4d0e,                                         \
	  "the kernel library is not the one the plan was made for",           \
	  "compile the model again, plan and kernels together")                \
	X(KERNELS_ABSENT, 0x545a4d0f,                                          \
	  "the bundle has no kernel library for this world",                   \
	  "compile the model for this target, signed with the image's key")    \
	X(MEMORY, 0x545a4d10, "the model needs more memory than there is",     \
	  "close other models, or compile a smaller one")                      \
	X(INPUT_SIZE, 0x545a4d11, "the input has the wrong size",              \
	  "give inputs of the shape and type that `tzml inspect` shows")       \
	X(OUTPUT_SIZE, 0x545a4d12, "the output buffer has the wrong size",     \
	  "give room for the outputs that `tzml inspect` shows")               \
	X(STATE, 0x545a4d13, "the request does not fit the model's state",     \
	  "open and load a model before it is run")                            \
	X(LOAD_ORDER, 0x545a4d14,                                              \
	  "a piece of the bundle came out of order or has the wrong size",     \
	  "load the section that the last answer asked for")                   \
	X(KERNEL_FAILED, 0x545a4d15, "a kernel reported a failure",            \
	  "report it with the model: this is an error of the compiler")        \
	X(LIMIT, 0x545a4d16, "a count or size is above the format's limit",    \
	  "compile the bundle again; if it persists, the model is too large")  \
	X(REQUEST, 0x545a4d17,                                                 \
	  "the request has parameters of the wrong kind or size",              \
	  "use a client library of the same version as the TA")                \
	X(PLATFORM, 0x545a4d18, "the platform's digest or storage failed",     \
	  "see the consoles for the cause; tee-supplicant must be running")    \
	X(SECURE_MEMORY, 0x545a4d19,                                           \
	  "the model takes more secure memory than its bundle states",         \
	  "compile the model again")                                           \
	X(KERNELS_OLD, 0x545a4d1a,                                             \
	  "a newer version of the kernel library is installed",                \
	  "use the newest bundle of the model")                                \
	X(STORAGE, 0x545a4d1b,                                                 \
	  "OP-TEE's secure storage is damaged, or lacks files",                \
	  "put its files back, or remove all of them and open it again")       \
	X(STORAGE_FULL, 0x545a4d1c, "OP-TEE cannot write its secure storage",  \
	  "make room on the file system where tee-supplicant keeps its files") \
	X(FORMAT_OLD, 0x545a4d1d,                                              \
	  "the bundle has format 1, which is no longer read",                  \
	  "compile the model again: tzml compile MODEL -o BUNDLE")             \
	X(UNSUPPORTED, 0x545a4d1e,                                             \
	  "the bundle needs a feature this program does not know",             \
	  "update tzml on the device")                                         \
	X(INTERFACE_MALFORMED, 0x545a4d1f,                                     \
	  "the bundle's programs or tensors are described wrongly",            \
	  "copy or compile the bundle again")                                  \
	X(PROTOCOL, 0x545a4d20,                                                \
	  "the TA speaks another version of the protocol than this library",   \
	  "install the TA and libtzml of one version")                         \
	X(STATE_LOST, 0x545a4d21,                                              \
	  "a run that did not end left the model's state half changed",        \
	  "reset the state, or open the model again")                          \
	X(PROGRAM, 0x545a4d22,                                                 \
	  "the model has no such program or entry point in this world",        \
	  "give one that `tzml inspect` shows")                                \
	X(NO_LIBRARY, 0x545a4d23, "no such kernel library is installed",       \
	  "`tzml libraries list` shows those that are")                        \
	X(REMOVAL, 0x545a4d24, "this OP-TEE cannot remove kernel libraries",   \
	  "build OP-TEE with the patch in meta-tzml-debian")                   \
	X(SIGNATURE, 0x545a4d40,                                               \
	  "the owner's signature of the bundle or grant is wrong",             \
	  "the file was changed or damaged: get it from the owner again")      \
	X(GRANT_ABSENT, 0x545a4d41,                                            \
	  "the model is sealed, and there is no grant for it",                 \
	  "give the grant (.tzg) that the owner made for this device")         \
	X(GRANT_MALFORMED, 0x545a4d42,                                         \
	  "the grant has a field that is out of range",                        \
	  "get the grant from the owner again")                                \
	X(GRANT_OTHER, 0x545a4d43, "the grant is for another bundle",          \
	  "use the bundle and the grant that the owner made together")         \
	X(GRANT_DEVICE, 0x545a4d44, "the grant is for other devices",          \
	  "send the owner this device's device.tzd, for a grant of its own")   \
	X(GRANT_OLD, 0x545a4d45,                                               \
	  "this device has seen a newer grant for this model",                 \
	  "use the newest grant")                                              \
	X(GRANT_PROGRAM, 0x545a4d46, "the grant does not allow this program",  \
	  "run another one, or ask the owner for a grant that allows it")      \
	X(BUDGET, 0x545a4d47, "the runs that the grant allows are used up",    \
	  "ask the owner for a new grant")                                     \
	X(OUTPUT_POLICY, 0x545a4d48,                                           \
	  "the grant's output policy does not fit the model's outputs",        \
	  "ask the owner for a grant with another policy")                     \
	X(OWNER_UNKNOWN, 0x545a4d49,                                           \
	  "this device was not enrolled for the model's owner",                \
	  "enroll it again, with this owner's public key")                     \
	X(NOT_ENROLLED, 0x545a4d4a, "this device has no identity yet",         \
	  "run `tzml device enroll` on it")                                    \
	X(MODEL_OLD, 0x545a4d4b,                                               \
	  "this device has seen a newer version of the model",                 \
	  "use the newest bundle")                                             \
	X(DOWNGRADE, 0x545a4d4c,                                               \
	  "this device has seen the model sealed, and now it is clear",        \
	  "use the sealed bundle")                                             \
	X(TA_OLD, 0x545a4d4d, "the grant asks for a newer TA",                 \
	  "update tzml on the device")                                         \
	X(ENROLLED, 0x545a4d4e, "this device has an identity already",         \
	  "use it, or give it up with --replace: its grants end with it")      \
	X(IDENTITY_FULL, 0x545a4d4f,                                           \
	  "this device remembers as many models as it can",                    \
	  "enroll it again: its grants end with its old identity")             \
	X(STATELESS, 0x545a4d50, "the model has no state to save or restore",  \
	  "compile it with `tzml compile --train`")                            \
	X(GRANT_STATE, 0x545a4d51,                                             \
	  "no grant allows the model's state to be saved, or exported",        \
	  "ask the owner for a grant that does (--save-state, "                \
	  "--export-state, --federate)")                                       \
	X(CHECKPOINT_MALFORMED, 0x545a4d52,                                    \
	  "the file is no checkpoint, or not a whole one",                     \
	  "give the file that `tzml train --checkpoint` wrote")                \
	X(CHECKPOINT_KIND, 0x545a4d53,                                         \
	  "the checkpoint was exported, or comes from the other world",        \
	  "resume from one that was saved in this world")                      \
	X(CHECKPOINT_MODEL, 0x545a4d54, "the checkpoint is of another model",  \
	  "give the one of this model")                                        \
	X(CHECKPOINT_VERSION, 0x545a4d55,                                      \
	  "the checkpoint is of another version of the model",                 \
	  "use the bundle that it was saved with, or train anew")              \
	X(CHECKPOINT_DEVICE, 0x545a4d56,                                       \
	  "the checkpoint was saved by another device, or by this one under "  \
	  "an earlier identity",                                               \
	  "resume where it was saved, or train anew")                          \
	X(CHECKPOINT_OLD, 0x545a4d57,                                          \
	  "this device has saved a newer checkpoint of the model",             \
	  "resume from the newest one, or train anew (--restart)")             \
	X(CHECKPOINT_DAMAGED, 0x545a4d58,                                      \
	  "the checkpoint was changed or damaged",                             \
	  "put back the file as it was saved, or train anew (--restart)")      \
	X(CHECKPOINT_FORKED, 0x545a4d59,                                       \
	  "this device has a checkpoint of the model that this session does "  \
	  "not continue",                                                      \
	  "resume from it (--resume), or give it up (--restart)")              \
	X(UNSEALED, 0x545a4d5a, "this device runs sealed models only",         \
	  "get the sealed model and a grant from its owner")                   \
	X(RELEASE_MALFORMED, 0x545a4d5b,                                       \
	  "the release has a field that is out of range",                      \
	  "get the release from the owner's verifier again")                   \
	X(RELEASE_OTHER, 0x545a4d5c,                                           \
	  "the release is for another session, bundle or owner",               \
	  "ask the verifier for one with this session's evidence")             \
	X(RELEASE_OLD, 0x545a4d5d,                                             \
	  "this session had a release for this epoch or a later one",          \
	  "ask the verifier for one of the next epoch")                        \
	X(NOT_RELEASED, 0x545a4d5e, "this session has no keys for records",    \
	  "attest it, and give it the verifier's release")                     \
	X(STAGE_PROGRAM, 0x545a4d5f,                                           \
	  "a program that changes state or draws random numbers cannot be a "  \
	  "stage: records may come twice",                                     \
	  "compile the model without training")                                \
	X(RECORD_MALFORMED, 0x545a4d60,                                        \
	  "the record has a field or size that is out of range",               \
	  "seal the inputs again")                                             \
	X(RECORD_OTHER, 0x545a4d61,                                            \
	  "the record is for another pipeline or stage",                       \
	  "send it where its edge leads")                                      \
	X(RECORD_EPOCH, 0x545a4d62, "the record is of another epoch",          \
	  "seal the inputs again, for the pipeline's present epoch")           \
	X(RECORD_TAG, 0x545a4d63,                                              \
	  "the record was changed, or sealed with another key",                \
	  "seal the inputs again")                                             \
	X(BATCH_PROGRAM, 0x545a4d64,                                           \
	  "a program that changes state does not take several samples at "     \
	  "once",                                                              \
	  "run it once for each sample")                                       \
	X(PRIVACY_BUDGET, 0x545a4d68,                                          \
	  "the updates of the private model that the grant allows are used "   \
	  "up",                                                                \
	  "ask the owner for a grant that allows more (--noised-updates)")     \
	X(ROUND_OLD, 0x545a4d69,                                               \
	  "this device has taken a global model of a later round",             \
	  "get the newest one from the server")                                \
	/* the client's own */                                                 \
	X(FILE, 0x545a4d81, "the bundle cannot be read", "check the path")     \
	X(NO_TEE, 0x545a4d82, "there is no TEE to talk to",                    \
	  "check that /dev/tee0 exists and may be opened, and that "           \
	  "tee-supplicant is running")                                         \
	X(NO_TA, 0x545a4d83, "OP-TEE cannot load the tzml TA",                 \
	  "install the TA that was built and signed with this image; if it "   \
	  "is, OP-TEE's storage was put back to an older state")               \
	X(TA_DEAD, 0x545a4d84, "the TA stopped (panicked)",                    \
	  "see the secure console for the cause, and open the model again")    \
	X(TEE_FAILED, 0x545a4d85, "the TEE failed",                            \
	  "see both consoles for the cause")                                   \
	X(WORLD, 0x545a4d86, "this program was built without that world",      \
	  "use the other world, or build libtzml with libteec")                \
	X(NO_SUPPLICANT, 0x545a4d87,                                           \
	  "OP-TEE waits for tee-supplicant, which does not answer",            \
	  "start it (systemctl restart tee-supplicant) and try again")         \
	X(BUSY, 0x545a4d88, "OP-TEE has no room for another session now",      \
	  "close other models, or wait for them: tzml run --wait SECONDS")

#define TZML_STATUS_ENUM(name, code, what, remedy) TZML_ERROR_##name = (code),
enum tzml_status { TZML_SUCCESS = 0, TZML_STATUS_LIST(TZML_STATUS_ENUM) };
#undef TZML_STATUS_ENUM

#endif /* TZML_STATUS_H */
