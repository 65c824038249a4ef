// The fused kernels of a decoder's forward pass: everything between its matrix products.
//
// T is the dtype of activations, K that of the cache. All arithmetic is in f32 and is rounded to T when it is written.
// A sum's order depends on its own row only, so a row's result is the same bit for bit whatever shares the launch.
// Matrices are row-major; a stride is the number of elements from one row to the next.
//
// A cache block holds BLOCK positions of one sequence as [layers, 2 (keys, values), BLOCK, kv_heads, head_dim] of K. It
// is passed as its address. `layer_offset` and `values_offset` are elements: from layer 0 to this layer, and from the
// keys to the values.
//
// The macros at the end make the kernels, named NAME_{T}, NAME_{T}_{K} or NAME_{T}_{K}_{head_dim}.
// crates/engine/kernel-check runs this text on a CPU.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffff;
constexpr uint32_t BLOCK = 32;
// Positions that one CTA of `attend` covers. Fixed, so that no sum depends on the length of another sequence.
constexpr uint32_t SPLIT = 256;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__half x) { return __half2float(x); }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T> __device__ inline T from_float(float x);
template <> __device__ inline float from_float(float x) { return x; }
template <> __device__ inline __half from_float(float x) { return __float2half_rn(x); }
template <> __device__ inline __nv_bfloat16 from_float(float x) { return __float2bfloat16_rn(x); }

template <typename T> __device__ inline float rounded(float x) { return to_float(from_float<T>(x)); }

struct Sum {
    static constexpr float none = 0.0f;
    static __device__ float of(float a, float b) { return a + b; }
};

struct Max {
    static constexpr float none = -INFINITY;
    static __device__ float of(float a, float b) { return fmaxf(a, b); }
};

// Combines the numbers of a warp's lanes. Every lane gets the result.
template <typename Op> __device__ inline float reduce_warp(float x) {
    for (uint32_t mask = WARP / 2; mask > 0; mask /= 2) {
        x = Op::of(x, __shfl_xor_sync(ALL_LANES, x, mask));
    }
    return x;
}

// Combines the numbers of a CTA's threads, which are whole warps. Every thread gets the result.
template <typename Op> __device__ inline float reduce_cta(float x) {
    __shared__ float of_warps[WARP];
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    x = reduce_warp<Op>(x);
    if (lane == 0) of_warps[warp] = x;
    __syncthreads();
    x = reduce_warp<Op>(lane < blockDim.x / WARP ? of_warps[lane] : Op::none);
    __syncthreads();  // The next call may write there.
    return x;
}

// How many numbers are read from memory in one access of 16 bytes.
template <typename K> constexpr uint32_t CHUNK = 16 / sizeof(K);

template <typename K> __device__ inline void load_chunk(const K* from, float (&to)[CHUNK<K>]) {
    const uint4 bytes = __ldg(reinterpret_cast<const uint4*>(from));
    const K* numbers = reinterpret_cast<const K*>(&bytes);
#pragma unroll
    for (uint32_t i = 0; i < CHUNK<K>; i++) to[i] = to_float(numbers[i]);
}

// sum = x + y; normed = RMS norm of the rounded sum. Grid: rows. Threads: 256.
template <typename T>
__device__ void add_norm(const T* x, const T* y, const T* weight, T* sum, T* normed, int width, float eps) {
    const uint64_t row = uint64_t(blockIdx.x) * width;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        const T added = from_float<T>(to_float(x[row + i]) + to_float(y[row + i]));
        sum[row + i] = added;
        squares += to_float(added) * to_float(added);
    }
    const float scale = rsqrtf(reduce_cta<Sum>(squares) / width + eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        normed[row + i] = from_float<T>(scale * to_float(sum[row + i]) * to_float(weight[i]));
    }
}

__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

__device__ inline float gelu(float x) {
    const float root_2_over_pi = 0.79788456f;
    return 0.5f * x * (1.0f + tanhf(root_2_over_pi * (x + 0.044715f * x * x * x)));
}

// out[row, column] = silu or gelu of gate, times up. Grid: any. Threads: 256.
template <typename T>
__device__ void gate(const T* gate, const T* up, T* out, uint32_t width, uint32_t stride, uint64_t count, int is_gelu) {
    const uint64_t first = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    const uint64_t step = uint64_t(gridDim.x) * blockDim.x;
    // Divided once; from there on, row and column are counted up.
    const uint64_t step_rows = step / width;
    const uint32_t step_columns = step % width;
    uint64_t row = first / width, column = first % width;
    for (uint64_t i = first; i < count; i += step) {
        const uint64_t at = row * stride + column;
        const float x = to_float(gate[at]);
        out[i] = from_float<T>((is_gelu ? gelu(x) : silu(x)) * to_float(up[at]));
        row += step_rows;
        column += step_columns;
        if (column >= width) {
            column -= width;
            row++;
        }
    }
}

constexpr uint32_t FINISH_WARPS = 4;
constexpr uint32_t MAX_HEAD_DIM = 256;

// Reads a head into `numbers`, with its bias added and its norm applied if it has them. Computed by one warp; until it
// ends, a lane touches its own dimensions only.
template <typename T>
__device__ inline void read_head(const T* x, const T* bias, const T* norm, float eps, uint32_t head_dim,
                                 float* numbers) {
    const uint32_t lane = threadIdx.x % WARP;
    float squares = 0.0f;
    for (uint32_t i = lane; i < head_dim; i += WARP) {
        float number = to_float(x[i]);
        if (bias != nullptr) number = rounded<T>(number + to_float(bias[i]));
        numbers[i] = number;
        squares += number * number;
    }
    if (norm == nullptr) return;
    const float scale = rsqrtf(reduce_warp<Sum>(squares) / head_dim + eps);
    for (uint32_t i = lane; i < head_dim; i += WARP) {
        numbers[i] = rounded<T>(scale * numbers[i] * to_float(norm[i]));
    }
}

// Returns dimension i of a head after its rotation. Dimension i < half pairs with i + half.
__device__ inline float rotated(const float* head, const float* cos, const float* sin, uint32_t half, uint32_t i) {
    if (i >= 2 * half) return head[i];
    if (i >= half) return head[i - half] * sin[i - half] + head[i] * cos[i - half];
    return head[i] * cos[i] - head[i + half] * sin[i];
}

// Biases, norms and rotates the heads of q, k and v; writes k and v into the cache and q into `queries`.
// Grid: (tokens, ceil((heads + 2 kv_heads) / 4)). Threads: 128, one warp a head.
template <typename T, typename K>
__device__ void finish_qkv(const T* q, const T* k, const T* v, uint32_t q_stride, uint32_t k_stride, uint32_t v_stride,
                           const T* q_bias, const T* k_bias, const T* v_bias, const T* q_norm, const T* k_norm,
                           float eps, const float* cos, const float* sin, uint32_t half, const uint64_t* slots,
                           uint64_t layer_offset, uint64_t values_offset, T* queries, uint32_t heads,
                           uint32_t kv_heads, uint32_t head_dim) {
    __shared__ float all_numbers[FINISH_WARPS][MAX_HEAD_DIM];
    float* numbers = all_numbers[threadIdx.x / WARP];
    const uint32_t lane = threadIdx.x % WARP;
    const uint64_t token = blockIdx.x;
    const uint32_t at = blockIdx.y * FINISH_WARPS + threadIdx.x / WARP;
    if (at >= heads + 2 * kv_heads) return;
    const bool is_query = at < heads, is_value = at >= heads + kv_heads;
    const uint32_t head = is_query ? at : (at - heads) % kv_heads;
    const T* x = is_query ? q + token * q_stride : is_value ? v + token * v_stride : k + token * k_stride;
    const T* bias = is_query ? q_bias : is_value ? v_bias : k_bias;
    const T* norm = is_query ? q_norm : is_value ? nullptr : k_norm;
    const uint32_t offset = head * head_dim;
    read_head(x + offset, bias == nullptr ? nullptr : bias + offset, norm, eps, head_dim, numbers);
    __syncwarp();
    const uint32_t turned = is_value ? 0 : half;
    cos += token * half;
    sin += token * half;
    T* to_queries = queries + token * heads * head_dim + offset;
    K* to_cache = reinterpret_cast<K*>(slots[token]) + layer_offset + (is_value ? values_offset : 0) + offset;
    for (uint32_t i = lane; i < head_dim; i += WARP) {
        const T number = from_float<T>(rotated(numbers, cos, sin, turned, i));
        if (is_query) {
            to_queries[i] = number;
        } else {
            to_cache[i] = from_float<K>(to_float(number));
        }
    }
}

// Returns the first position that a query sees.
__device__ inline uint32_t first_seen(uint32_t seen, uint32_t window) {
    return window != 0 && seen > window ? seen - window : 0;
}

constexpr uint32_t ATTEND_THREADS = 256;
// Heads of a group that are computed together, as many as registers allow. A larger group takes several turns, which
// find keys and values in the GPU's caches.
constexpr uint32_t HEADS = 8;
static_assert(ATTEND_THREADS / WARP == HEADS, "a warp normalises the scores of one head");
static_assert(ATTEND_THREADS / WARP == SPLIT / BLOCK, "a warp multiplies the keys of one block");

// Positions of a split, counted from its beginning.
struct Range {
    uint32_t begin, end;

    __device__ bool is_empty() const { return begin >= end; }
    __device__ uint32_t nearest(uint32_t position) const { return min(max(position, begin), end - 1); }
    // The part of it that is in [from, from + count).
    __device__ Range within(uint32_t from, uint32_t count) const { return {max(begin, from), min(end, from + count)}; }
};

__device__ inline Range visible(uint32_t seen, uint32_t window, uint32_t split) {
    const uint32_t start = split * SPLIT, from = first_seen(seen, window);
    return {from > start ? from - start : 0, seen > start ? min(seen - start, SPLIT) : 0};
}

// How the threads of `attend` share a head's D numbers of K.
template <typename K, uint32_t D> struct Layout {
    static constexpr uint32_t CHUNKS = D / CHUNK<K>;
    // Keys: this many lanes share a row, and each works on as many rows. So a warp reads whole sectors of memory, and a
    // query's numbers are read from shared memory once for several rows.
    static constexpr uint32_t LANES = CHUNKS % 4 == 0 ? 4 : 2;
    static constexpr uint32_t ROWS = WARP / LANES;
    static_assert(CHUNKS * CHUNK<K> == D && CHUNKS % LANES == 0, "lanes share a head evenly");
    static_assert(ROWS * LANES == BLOCK, "a warp takes a block");
    // Values: a row's chunks are spread over threads, and this many sets of threads take turns at the positions.
    static constexpr uint32_t SETS = ATTEND_THREADS / CHUNKS;
    // Shared memory, in floats: queries and scores; after them, twice every thread's sums of one head.
    static constexpr uint32_t BEFORE = HEADS * (D + SPLIT), AFTER = 2 * ATTEND_THREADS * CHUNK<K>;
    static constexpr uint32_t FLOATS = BEFORE > AFTER ? BEFORE : AFTER;
};

// Writes the scores [HEADS, SPLIT] of a warp's block of keys, minus infinity for those that are not visible.
template <typename K, uint32_t D>
__device__ inline void score(const K* const* blocks, uint32_t stride, Range range, const float* queries,
                             uint32_t heads, float scale, float* scores) {
    using L = Layout<K, D>;
    const uint32_t lane = threadIdx.x % WARP, part = lane % L::LANES;
    const uint32_t block = threadIdx.x / WARP, start = block * BLOCK;
    const Range in_block = range.within(start, BLOCK);
    float sums[HEADS][L::LANES] = {};
    if (!in_block.is_empty()) {
        const K* rows = blocks[block];
        uint32_t at[L::LANES];
#pragma unroll
        for (uint32_t r = 0; r < L::LANES; r++) {
            // Memory of positions that are not visible may hold NaN: the nearest visible row stands in for them.
            at[r] = (in_block.nearest(start + r * L::ROWS + lane / L::LANES) - start) * stride;
        }
#pragma unroll 1
        for (uint32_t i = part * CHUNK<K>; i < D; i += L::LANES * CHUNK<K>) {
            float keys[L::LANES][CHUNK<K>];
#pragma unroll
            for (uint32_t r = 0; r < L::LANES; r++) load_chunk(rows + (at[r] + i), keys[r]);
#pragma unroll
            for (uint32_t h = 0; h < HEADS; h++) {
                if (h >= heads) break;
                float query[CHUNK<K>];
#pragma unroll
                for (uint32_t c = 0; c < CHUNK<K>; c += 4) {
                    *reinterpret_cast<float4*>(query + c) = *reinterpret_cast<const float4*>(queries + h * D + i + c);
                }
#pragma unroll
                for (uint32_t r = 0; r < L::LANES; r++) {
#pragma unroll
                    for (uint32_t c = 0; c < CHUNK<K>; c++) sums[h][r] += query[c] * keys[r][c];
                }
            }
        }
    }
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++) {
        if (h >= heads) break;
#pragma unroll
        for (uint32_t r = 0; r < L::LANES; r++) {
            float sum = sums[h][r];
            for (uint32_t mask = L::LANES / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, mask);
            const uint32_t position = start + r * L::ROWS + lane / L::LANES;
            const bool is_visible = position >= range.begin && position < range.end;
            if (part == r) scores[h * SPLIT + position] = is_visible ? sum * scale : -INFINITY;
        }
    }
}

// Turns a head's scores into weights, the exponentials of their distances to the maximum. Computed by one warp. At
// least one position is visible, so the maximum is finite.
__device__ inline void weigh(float* scores, float* state) {
    const uint32_t lane = threadIdx.x % WARP;
    float most = -INFINITY, sum = 0.0f;
    for (uint32_t i = lane; i < SPLIT; i += WARP) most = fmaxf(most, scores[i]);
    most = reduce_warp<Max>(most);
    for (uint32_t i = lane; i < SPLIT; i += WARP) {
        const float weight = expf(scores[i] - most);
        scores[i] = weight;
        sum += weight;
    }
    sum = reduce_warp<Sum>(sum);
    if (lane == 0) {
        state[0] = most;
        state[1] = sum;
    }
}

// Adds up a thread's share of the weighted values: one chunk of every SETS-th four positions.
template <typename K, uint32_t D>
__device__ inline void mix(const K* const* blocks, uint32_t stride, Range range, const float* weights, uint32_t heads,
                           float (&mixed)[HEADS][CHUNK<K>]) {
    using L = Layout<K, D>;
    const uint32_t set = threadIdx.x / L::CHUNKS, chunk = threadIdx.x % L::CHUNKS;
    if (set >= L::SETS) return;
    for (uint32_t first = 4 * set; first < range.end; first += 4 * L::SETS) {
        const Range in_four = range.within(first, 4);
        if (in_four.is_empty()) continue;
        const K* rows = blocks[first / BLOCK] + chunk * CHUNK<K>;
        float values[4][CHUNK<K>];
#pragma unroll
        for (uint32_t r = 0; r < 4; r++) {
            // As for keys. The weight of a position that is not visible is zero.
            load_chunk(rows + in_four.nearest(first + r) % BLOCK * stride, values[r]);
        }
#pragma unroll
        for (uint32_t h = 0; h < HEADS; h++) {
            if (h >= heads) break;
            const float4 weight = *reinterpret_cast<const float4*>(weights + h * SPLIT + first);
#pragma unroll
            for (uint32_t c = 0; c < CHUNK<K>; c++) {
                mixed[h][c] += weight.x * values[0][c];
                mixed[h][c] += weight.y * values[1][c];
                mixed[h][c] += weight.z * values[2][c];
                mixed[h][c] += weight.w * values[3][c];
            }
        }
    }
}

// Adds up what the sets of threads have mixed, in order, and writes it; `stride` is that of heads in `partial`.
template <typename K, uint32_t D>
__device__ inline void add_sets(const float (&mixed)[HEADS][CHUNK<K>], uint32_t heads, float* memory,
                                float* partial, uint32_t stride) {
    using L = Layout<K, D>;
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++) {
        if (h >= heads) break;
        // In turns, so that one barrier a head is enough.
        float* sums = memory + h % 2 * ATTEND_THREADS * CHUNK<K>;
        if (threadIdx.x < L::SETS * L::CHUNKS) {
#pragma unroll
            for (uint32_t c = 0; c < CHUNK<K>; c += 4) {
                *reinterpret_cast<float4*>(sums + threadIdx.x * CHUNK<K> + c) =
                    make_float4(mixed[h][c], mixed[h][c + 1], mixed[h][c + 2], mixed[h][c + 3]);
            }
        }
        __syncthreads();
        if (threadIdx.x < D) {
            float sum = 0.0f;
            for (uint32_t set = 0; set < L::SETS; set++) sum += sums[set * D + threadIdx.x];
            partial[uint64_t(h) * stride + threadIdx.x] = sum;
        }
    }
}

// Attends single queries to the blocks of their sequences. A CTA computes all heads of a group over one split, so that
// keys and values are read from memory once. Splits of which a query sees nothing are not written.
// Grid: (queries, kv_heads, max_splits). Threads: 256.
template <typename T, typename K, uint32_t D>
__device__ void attend(const T* queries, const uint64_t* blocks, const uint32_t* sequence, const uint32_t* seen,
                       uint32_t window, uint64_t layer_offset, uint64_t values_offset, float scale, uint32_t heads,
                       uint32_t kv_heads, uint32_t max_blocks, uint32_t max_splits, float* partial, float* state) {
    using L = Layout<K, D>;
    __shared__ float4 aligned_memory[L::FLOATS / 4];
    __shared__ const K* keys[SPLIT / BLOCK];
    __shared__ const K* values[SPLIT / BLOCK];
    float* memory = reinterpret_cast<float*>(aligned_memory);
    float* scores = memory + HEADS * D;
    const uint32_t query = blockIdx.x, kv_head = blockIdx.y, split = blockIdx.z, warp = threadIdx.x / WARP;
    const Range range = visible(seen[query], window, split);
    if (range.is_empty()) return;
    if (threadIdx.x < SPLIT / BLOCK && !range.within(threadIdx.x * BLOCK, BLOCK).is_empty()) {
        const uint64_t block = uint64_t(sequence[query]) * max_blocks + split * (SPLIT / BLOCK) + threadIdx.x;
        keys[threadIdx.x] = reinterpret_cast<const K*>(blocks[block]) + layer_offset + kv_head * D;
        values[threadIdx.x] = keys[threadIdx.x] + values_offset;
    }
    const uint32_t group = heads / kv_heads;
    for (uint32_t first = 0; first < group; first += HEADS) {
        const uint32_t count = min(group - first, HEADS);
        const uint32_t head = query * heads + kv_head * group + first;
        const T* from = queries + uint64_t(head) * D;
        for (uint32_t i = threadIdx.x; i < count * D; i += ATTEND_THREADS) memory[i] = to_float(from[i]);
        __syncthreads();
        score<K, D>(keys, kv_heads * D, range, memory, count, scale, scores);
        __syncthreads();
        if (warp < count) weigh(scores + warp * SPLIT, state + (uint64_t(head + warp) * max_splits + split) * 2);
        __syncthreads();
        float mixed[HEADS][CHUNK<K>] = {};
        mix<K, D>(values, kv_heads * D, range, scores, count, mixed);
        __syncthreads();
        add_sets<K, D>(mixed, count, memory, partial + (uint64_t(head) * max_splits + split) * D, max_splits * D);
        __syncthreads();
    }
}

// Joins the splits of `attend`: out [queries, heads, D]. Grid: (queries, heads). Threads: D, or fewer.
template <typename T, uint32_t D>
__device__ void join(const float* partial, const float* state, const uint32_t* seen, uint32_t window, uint32_t heads,
                     uint32_t max_splits, T* out) {
    const uint64_t head = uint64_t(blockIdx.x) * heads + blockIdx.y;
    const uint32_t end = seen[blockIdx.x];
    // Only these were written.
    const uint32_t first = first_seen(end, window) / SPLIT, last = (end + SPLIT - 1) / SPLIT;
    partial += head * max_splits * D;
    state += head * max_splits * 2;
    float most = -INFINITY;
    for (uint32_t split = first; split < last; split++) most = fmaxf(most, state[2 * split]);
    for (uint32_t i = threadIdx.x; i < D; i += blockDim.x) {
        float mixed = 0.0f, sum = 0.0f;
        for (uint32_t split = first; split < last; split++) {
            const float factor = expf(state[2 * split] - most);
            mixed += factor * partial[uint64_t(split) * D + i];
            sum += factor * state[2 * split + 1];
        }
        // A query that sees nothing is padding.
        out[head * D + i] = from_float<T>(end == 0 ? 0.0f : mixed / sum);
    }
}

// Copies positions [from, len) of one sequence into keys and values [kv_heads, len - from, head_dim].
// Grid: any, best len - from. Threads: any, best 256.
template <typename T, typename K>
__device__ void gather(const uint64_t* blocks, uint32_t len, uint32_t from, uint64_t layer_offset,
                       uint64_t values_offset, T* keys, T* values, uint32_t kv_heads, uint32_t head_dim) {
    const uint32_t width = kv_heads * head_dim;
    for (uint32_t position = from + blockIdx.x; position < len; position += gridDim.x) {
        const K* row = reinterpret_cast<const K*>(blocks[position / BLOCK]) + layer_offset +
                       uint64_t(position % BLOCK) * width;
        for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
            const uint64_t to = (uint64_t(i / head_dim) * (len - from) + position - from) * head_dim + i % head_dim;
            keys[to] = from_float<T>(to_float(__ldg(row + i)));
            values[to] = from_float<T>(to_float(__ldg(row + values_offset + i)));
        }
    }
}

// Softmax of the scaled scores [rows, len] of prefill. Row r is query r % t, which sees the keys up to past + r % t and
// at most `window` of them. `weights` may be `scores`. Grid: rows. Threads: whole warps, best 256.
template <typename T>
__device__ void softmax(const T* scores, T* weights, uint32_t t, uint32_t len, float scale, uint32_t past,
                        uint32_t window) {
    const uint64_t row = uint64_t(blockIdx.x) * len;
    const uint32_t end = min(past + blockIdx.x % t + 1, len), begin = first_seen(end, window);
    float most = -INFINITY, sum = 0.0f;
    for (uint32_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        most = fmaxf(most, scale * to_float(scores[row + i]));
    }
    most = reduce_cta<Max>(most);
    for (uint32_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
        sum += expf(scale * to_float(scores[row + i]) - most);
    }
    sum = reduce_cta<Sum>(sum);
    for (uint32_t i = threadIdx.x; i < len; i += blockDim.x) {
        const bool is_visible = i >= begin && i < end;
        const float weight = is_visible ? expf(scale * to_float(scores[row + i]) - most) / sum : 0.0f;
        weights[row + i] = from_float<T>(weight);
    }
}

#define KERNEL(THREADS) extern "C" __global__ void __launch_bounds__(THREADS)

#define FOR_ACTIVATIONS(T, NAME)                                                                                     \
    KERNEL(256) add_norm_##NAME(const T* x, const T* y, const T* weight, T* sum, T* normed, int width, float eps) {  \
        add_norm(x, y, weight, sum, normed, width, eps);                                                             \
    }                                                                                                                \
    KERNEL(256) gate_##NAME(const T* gate_, const T* up, T* out, uint32_t width, uint32_t stride, uint64_t count,    \
                            int is_gelu) {                                                                           \
        gate(gate_, up, out, width, stride, count, is_gelu);                                                         \
    }                                                                                                                \
    KERNEL(256) softmax_##NAME(const T* scores, T* weights, uint32_t t, uint32_t len, float scale, uint32_t past,    \
                               uint32_t window) {                                                                    \
        softmax(scores, weights, t, len, scale, past, window);                                                       \
    }                                                                                                                \
    JOIN(T, NAME, 16) JOIN(T, NAME, 32) JOIN(T, NAME, 64) JOIN(T, NAME, 80) JOIN(T, NAME, 96) JOIN(T, NAME, 128)        \
    JOIN(T, NAME, 256)

#define JOIN(T, NAME, D)                                                                                             \
    KERNEL(D) join_##NAME##_##D(const float* partial, const float* state, const uint32_t* seen, uint32_t window,     \
                                uint32_t heads, uint32_t max_splits, T* out) {                                       \
        join<T, D>(partial, state, seen, window, heads, max_splits, out);                                            \
    }

#define FOR_CACHE(T, K, NAME)                                                                                        \
    KERNEL(128) finish_qkv_##NAME(                                                                                   \
        const T* q, const T* k, const T* v, uint32_t q_stride, uint32_t k_stride, uint32_t v_stride,                 \
        const T* q_bias, const T* k_bias, const T* v_bias, const T* q_norm, const T* k_norm, float eps,              \
        const float* cos, const float* sin, uint32_t half, const uint64_t* slots, uint64_t layer_offset,             \
        uint64_t values_offset, T* queries, uint32_t heads, uint32_t kv_heads, uint32_t head_dim) {                  \
        finish_qkv<T, K>(q, k, v, q_stride, k_stride, v_stride, q_bias, k_bias, v_bias, q_norm, k_norm, eps, cos,    \
                         sin, half, slots, layer_offset, values_offset, queries, heads, kv_heads, head_dim);         \
    }                                                                                                                \
    KERNEL(256) gather_##NAME(const uint64_t* blocks, uint32_t len, uint32_t from, uint64_t layer_offset,            \
                              uint64_t values_offset, T* keys, T* values, uint32_t kv_heads, uint32_t head_dim) {    \
        gather<T, K>(blocks, len, from, layer_offset, values_offset, keys, values, kv_heads, head_dim);              \
    }                                                                                                                \
    ATTEND(T, K, NAME, 16) ATTEND(T, K, NAME, 32) ATTEND(T, K, NAME, 64) ATTEND(T, K, NAME, 80)                      \
    ATTEND(T, K, NAME, 96) ATTEND(T, K, NAME, 128) ATTEND(T, K, NAME, 256)

#define ATTEND(T, K, NAME, D)                                                                                        \
    KERNEL(ATTEND_THREADS) attend_##NAME##_##D(                                                                      \
        const T* queries, const uint64_t* blocks, const uint32_t* sequence, const uint32_t* seen, uint32_t window,   \
        uint64_t layer_offset, uint64_t values_offset, float scale, uint32_t heads, uint32_t kv_heads,               \
        uint32_t max_blocks, uint32_t max_splits, float* partial, float* state) {                                    \
        attend<T, K, D>(queries, blocks, sequence, seen, window, layer_offset, values_offset, scale, heads,          \
                        kv_heads, max_blocks, max_splits, partial, state);                                           \
    }

FOR_ACTIVATIONS(float, f32)
FOR_ACTIVATIONS(__half, f16)
FOR_ACTIVATIONS(__nv_bfloat16, bf16)
FOR_CACHE(float, float, f32_f32)
FOR_CACHE(float, __half, f32_f16)
FOR_CACHE(__half, __half, f16_f16)
FOR_CACHE(__nv_bfloat16, __nv_bfloat16, bf16_bf16)
