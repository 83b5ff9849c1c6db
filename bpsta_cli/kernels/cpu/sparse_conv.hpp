// What the sparse convolution's forward and backward pass share: the list of spikes.
//
// Images lie channels last. A spike is the place of a 1 in its image row, column * channels + channel; those of an
// image lie in order of its pixels, and `starts` has where each pixel's begin.

#pragma once

#include "conv.hpp"

namespace {

using Vector [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
using Place = uint16_t;
constexpr int64_t LANES = 8; // floats in a Vector, and places that are written at once

} // namespace
