// In which order the gradients of weights and biases are summed: samples in shares, the pixels of a share in blocks.
//
// README.md in the folder above has the definition. Dense and sparse kernels follow it alike, and so give the same
// bits, for any width of vectors and any number of threads.

#pragma once

#include "held.hpp"

namespace bpsta {

constexpr int64_t BLOCK_PIXELS = 1024; // of the output, which one chain of additions takes

// Output pixels that are summed as one chain: rows [row, row + rows) of so many images of a share.
struct SumBlock {
    int64_t image, images, row, rows;
};

// The images of some samples, step by step, and how their output pixels are cut into blocks.
struct SampleShare {
    int64_t sample, samples, steps, batch, height, width; // samples in memory; height and width of the output

    int64_t images() const { return samples * steps; }
    // The number, among all images, of the share's own image `index`.
    int64_t image(int64_t index) const { return index / samples * batch + sample + index % samples; }

    int64_t images_in_block() const { return std::max(BLOCK_PIXELS / (height * width), int64_t(1)); }
    int64_t rows_in_block() const {
        return height * width > BLOCK_PIXELS ? std::max(BLOCK_PIXELS / width, int64_t(1)) : height;
    }
    int64_t blocks_in_image() const { return (height + rows_in_block() - 1) / rows_in_block(); } // 1 where it is small
    int64_t blocks() const {
        return (images() + images_in_block() - 1) / images_in_block() * blocks_in_image();
    }
    SumBlock block(int64_t index) const {
        const int64_t first = index / blocks_in_image() * images_in_block();
        const int64_t row = index % blocks_in_image() * rows_in_block();
        return {first, std::min(images_in_block(), images() - first), row, std::min(rows_in_block(), height - row)};
    }
};

// Share `index` of the samples of [steps, held.batch] images; it may be empty.
inline SampleShare sample_share(int64_t index, int64_t images, const Held &held, int64_t height, int64_t width) {
    const int64_t first = held.at(index), last = held.at(index + 1);
    return {first, last - first, images / held.batch, held.batch, height, width};
}

} // namespace bpsta
