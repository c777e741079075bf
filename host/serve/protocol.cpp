// SPDX-License-Identifier: Apache-2.0
/* simdjson is a long header: what needs it is compiled together. */
#include "answer.cpp"
#include "dtype.cpp"
#include "elements.cpp"
#include "input.cpp"
#include "reader.cpp"
#include "request.cpp"
