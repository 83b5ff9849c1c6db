// What the sparse convolution's forward and backward pass share: the list of spikes and the sizes.
//
// Images lie channels last. A spike is the place of a 1 in its image row, column * channels + channel; those of an
// image lie in order of its pixels, and `starts` has where each pixel's begin.

#pragma once

#include <cstdint>

namespace {

using Vector [[gnu::vector_size(32), gnu::aligned(4), gnu::may_alias]] = float;
using Place = uint16_t;
constexpr int64_t LANES = 8; // floats in a Vector, and places that are written at once

// A convolution, sizes in elements.
struct Sizes {
    int64_t images, height, width, channels, filters, kernel_height, kernel_width, stride, padding, out_height,
        out_width;

    int64_t starts() const { return height * width + 1; }
    int64_t room() const { return height * width * channels + LANES; }
};

} // namespace
