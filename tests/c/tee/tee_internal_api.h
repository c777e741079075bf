/* SPDX-License-Identifier: Apache-2.0 */
/* As much of GlobalPlatform's TEE Internal Core API as ta/device.c takes. */
#ifndef TEE_INTERNAL_API_H
#define TEE_INTERNAL_API_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t TEE_Result;
typedef struct object *TEE_ObjectHandle;
typedef void *TEE_TASessionHandle;

#define TEE_SUCCESS		  0x00000000
#define TEE_ERROR_CORRUPT_OBJECT  0xF0100001
#define TEE_ERROR_ACCESS_CONFLICT 0xFFFF0003
#define TEE_ERROR_GENERIC	  0xFFFF0000
#define TEE_ERROR_ITEM_NOT_FOUND  0xFFFF0008
#define TEE_ERROR_OUT_OF_MEMORY	  0xFFFF000C
#define TEE_HANDLE_NULL		  NULL
#define TEE_MALLOC_FILL_ZERO	  0
#define TEE_DATA_SEEK_SET	  0

#define __unused __attribute__((unused))

void *TEE_Malloc(size_t size, uint32_t hint);
void TEE_Free(void *memory);
TEE_Result TEE_Wait(uint32_t milliseconds);
TEE_Result TEE_ReadObjectData(TEE_ObjectHandle object, void *to, size_t size,
			      size_t *count);
TEE_Result TEE_WriteObjectData(TEE_ObjectHandle object, const void *from,
			       size_t size);
TEE_Result TEE_SeekObjectData(TEE_ObjectHandle object, intmax_t offset,
			      int whence);
void TEE_CloseObject(TEE_ObjectHandle object);

#endif /* TEE_INTERNAL_API_H */
