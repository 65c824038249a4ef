// Lets g++ compile and run a CUDA source on a CPU: as much of CUDA as step.cu uses.
//
// The threads of a CTA are threads of the process, so that ThreadSanitizer sees what the GPU would race on. CTAs run
// one after the other, which is why their shared memory can be static storage.

#pragma once

#include <algorithm>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define __device__
#define __global__
#define __launch_bounds__(...)
#define __shared__ static

using std::max;
using std::min;

struct Index {
    uint32_t x = 1, y = 1, z = 1;
};

inline Index gridDim, blockDim;
inline thread_local Index blockIdx, threadIdx;

struct alignas(16) float4 {
    float x, y, z, w;
};

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename V> V __ldg(const V* from) { return *from; }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

struct __half {
    _Float16 number;
};

inline float __half2float(__half x) { return float(x.number); }
inline __half __float2half_rn(float x) { return {_Float16(x)}; }

struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    if (std::isnan(x)) return {0x7fff};
    // To the nearest, and to even in the middle.
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

constexpr uint32_t SHIM_WARP = 32;

// Lanes that shuffle. There are two sets of slots, used in turns: a lane that is already in the next shuffle must not
// overwrite what another still has to read.
struct ShimWarp {
    std::barrier<> barrier;
    float slots[2][SHIM_WARP];

    explicit ShimWarp(uint32_t lanes) : barrier(lanes) {}
};

struct ShimCta {
    std::barrier<> barrier;
    std::vector<std::unique_ptr<ShimWarp>> warps;

    explicit ShimCta(uint32_t threads) : barrier(threads) {
        for (uint32_t first = 0; first < threads; first += SHIM_WARP) {
            warps.push_back(std::make_unique<ShimWarp>(min(threads - first, SHIM_WARP)));
        }
    }
};

inline thread_local ShimCta* shim_cta;
inline thread_local uint32_t shim_shuffles;

inline ShimWarp& shim_warp() { return *shim_cta->warps[threadIdx.x / SHIM_WARP]; }

inline void __syncthreads() { shim_cta->barrier.arrive_and_wait(); }
inline void __syncwarp() { shim_warp().barrier.arrive_and_wait(); }

inline float __shfl_xor_sync(uint32_t, float number, uint32_t mask) {
    ShimWarp& warp = shim_warp();
    const uint32_t lane = threadIdx.x % SHIM_WARP;
    float* slots = warp.slots[shim_shuffles++ % 2];
    slots[lane] = number;
    warp.barrier.arrive_and_wait();
    return slots[lane ^ mask];
}

// Runs `kernel`, a call of a __global__ function, in every thread of the grid.
inline void launch(Index grid, uint32_t threads, const std::function<void()>& kernel) {
    gridDim = grid;
    blockDim = {threads, 1, 1};
    std::vector<std::unique_ptr<ShimCta>> ctas(grid.x * grid.y * grid.z);
    for (auto& cta : ctas) cta = std::make_unique<ShimCta>(threads);
    std::barrier next_cta(threads);
    const auto run_thread = [&](uint32_t thread) {
        threadIdx = {thread, 0, 0};
        for (uint32_t i = 0; i < ctas.size(); i++) {
            blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
            shim_cta = ctas[i].get();
            kernel();
            // Nobody waits for a thread that has returned.
            shim_warp().barrier.arrive_and_drop();
            shim_cta->barrier.arrive_and_drop();
            next_cta.arrive_and_wait();
        }
    };
    std::vector<std::thread> running;
    for (uint32_t thread = 0; thread < threads; thread++) running.emplace_back(run_thread, thread);
    for (std::thread& thread : running) thread.join();
}
