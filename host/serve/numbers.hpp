/* SPDX-License-Identifier: Apache-2.0 */
/* Which numbers of C++ those of a dtype are. */
#ifndef NUMBERS_HPP
#define NUMBERS_HPP

#include <cstdint>

#include <tzml/dtype.h>

/*
 * What `use` returns for a number of the dtype, which says nothing but its type,
 * or what `other` returns for a dtype of which JSON has no numbers.
 */
template <typename Use, typename Other>
static inline bool by_number(uint32_t dtype, Use use, Other other)
{
	switch (dtype) {
	case TZML_FLOAT32:
		return use(float{});
	case TZML_FLOAT64:
		return use(double{});
	case TZML_INT8:
		return use(int8_t{});
	case TZML_UINT8:
		return use(uint8_t{});
	case TZML_INT16:
		return use(int16_t{});
	case TZML_UINT16:
		return use(uint16_t{});
	case TZML_INT32:
		return use(int32_t{});
	case TZML_UINT32:
		return use(uint32_t{});
	case TZML_INT64:
		return use(int64_t{});
	case TZML_UINT64:
		return use(uint64_t{});
	default:
		return other();
	}
}

#endif /* NUMBERS_HPP */
