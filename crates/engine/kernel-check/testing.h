// What the checks of kernels share: comparing and reporting, the kernels by type, random numbers, a cache.

#pragma once

#include "shim.h"

#include "../src/model/fused/step.cu"

#include <cstdio>
#include <map>
#include <random>
#include <string>

// ---- What is compared

struct Tally {
    double error = 0.0, limit = 0.0;
    size_t numbers = 0;
    std::string failure;
};

static std::map<std::string, Tally> tallies;

static void expect(const std::string& kernel, bool holds, const char* what) {
    if (!holds) tallies[kernel].failure = what;
}

// Errors are relative to the number or, if that is larger, to the root mean square of all: a sum may cancel out.
template <typename T>
void compare(const std::string& kernel, const std::vector<T>& got, const std::vector<double>& want, double limit) {
    Tally& tally = tallies[kernel];
    expect(kernel, got.size() == want.size(), "sizes differ");
    if (got.size() != want.size()) return;
    double squares = 0.0;
    for (double number : want) squares += number * number;
    const double usual = std::sqrt(squares / want.size());
    for (size_t i = 0; i < want.size(); i++) {
        const double apart = std::abs(to_float(got[i]) - want[i]);
        const double error = apart == 0.0 ? 0.0 : apart / std::max(std::abs(want[i]), usual);
        // NaN is the greatest error.
        tally.error = std::isnan(error) ? INFINITY : std::max(tally.error, error);
    }
    tally.numbers += want.size();
    tally.limit = std::max(tally.limit, limit);
}

template <typename T> bool same_bits(const T* a, const T* b, size_t count) {
    return std::memcmp(a, b, count * sizeof(T)) == 0;
}

static int report() {
    int failed = 0;
    for (const auto& [kernel, tally] : tallies) {
        const bool is_right = tally.failure.empty() && tally.error <= tally.limit;
        failed += !is_right;
        std::printf("%-24s %9zu numbers, greatest relative error %.1e (limit %.1e) %s %s\n", kernel.c_str(),
                    tally.numbers, tally.error, tally.limit, is_right ? "ok" : "FAILED", tally.failure.c_str());
    }
    return failed;
}

// ---- Types and names

// Rounds to a number of binary digits, to even in the middle; `least` is the exponent of the smallest normal number.
static double round_to(double x, int digits, int least) {
    if (x == 0.0 || !std::isfinite(x)) return x;
    const double unit = std::ldexp(1.0, std::max(std::ilogb(x), least) - digits + 1);
    return std::nearbyint(x / unit) * unit;
}

template <typename T> struct Type;

#define TYPE(T, NAME, DIGITS, LEAST)                                                                                  \
    template <> struct Type<T> {                                                                                      \
        static constexpr const char* name = #NAME;                                                                    \
        static constexpr double unit = 1.0 / (1 << DIGITS);                                                           \
        static double round(double x) { return round_to(x, DIGITS, LEAST); }                                          \
        static constexpr auto add_norm = add_norm_##NAME;                                                             \
        static constexpr auto gate = gate_##NAME;                                                                     \
        static constexpr auto softmax = softmax_##NAME;                                                               \
    };
TYPE(float, f32, 24, -126)
TYPE(__half, f16, 11, -14)
TYPE(__nv_bfloat16, bf16, 8, -126)

template <typename T, typename K> struct Pair;
template <typename T, typename K, uint32_t D> struct Attention;

#define ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, D)                                                                       \
    template <> struct Attention<T, K, D> {                                                                           \
        static constexpr const char* attend_name = "attend_" #SUFFIX "_" #D;                                          \
        static constexpr const char* join_name = "join_" #JOIN_SUFFIX "_" #D;                                         \
        static constexpr auto attend = attend_##SUFFIX##_##D;                                                         \
        static constexpr auto join = join_##JOIN_SUFFIX##_##D;                                                        \
    };
#define PAIR(T, K, SUFFIX, JOIN_SUFFIX)                                                                               \
    template <> struct Pair<T, K> {                                                                                   \
        static constexpr const char* name = #SUFFIX;                                                                  \
        static constexpr auto finish_qkv = finish_qkv_##SUFFIX;                                                       \
        static constexpr auto gather = gather_##SUFFIX;                                                               \
    };                                                                                                                \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 16)                                                                          \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 32)                                                                          \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 64)                                                                          \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 80)                                                                          \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 96)                                                                          \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 128)                                                                         \
    ATTENTION(T, K, SUFFIX, JOIN_SUFFIX, 256)
PAIR(float, float, f32_f32, f32)
PAIR(float, __half, f32_f16, f32)
PAIR(__half, __half, f16_f16, f16)
PAIR(__nv_bfloat16, __nv_bfloat16, bf16_bf16, bf16)

// ---- Numbers

static std::mt19937 generator(1);
constexpr double F32 = 1e-5;  // What sums in f32 may be off.

template <typename T> std::vector<T> noise(size_t count, float most = 2.0f) {
    std::uniform_real_distribution<float> numbers(-most, most);
    std::vector<T> all(count);
    for (T& number : all) number = from_float<T>(numbers(generator));
    return all;
}

// Numbers whose bits are all ones: NaN in every type.
template <typename T> std::vector<T> poison(size_t count) {
    std::vector<T> all(count);
    std::memset(static_cast<void*>(all.data()), 0xff, count * sizeof(T));
    return all;
}

template <typename T> bool is_poison(const T& number) {
    const T ones = poison<T>(1)[0];
    return same_bits(&number, &ones, 1);
}

// ---- The cache

constexpr uint32_t LAYERS = 3, LAYER = 1;

// Blocks of one sequence, each in memory of its own. Blocks that are not there have an address that cannot be read.
template <typename K> struct Blocks {
    uint32_t width;  // kv_heads * head_dim
    std::vector<std::vector<K>> blocks;

    Blocks(uint32_t width, uint32_t len, uint32_t first = 0) : width(width), blocks((len + BLOCK - 1) / BLOCK) {
        for (size_t i = first / BLOCK; i < blocks.size(); i++) blocks[i] = poison<K>(LAYERS * 2 * BLOCK * width);
    }

    uint64_t layer_offset() const { return LAYER * 2 * BLOCK * width; }
    uint64_t values_offset() const { return BLOCK * width; }

    std::vector<uint64_t> addresses(size_t count) const {
        std::vector<uint64_t> all(count, 16);
        for (size_t i = 0; i < blocks.size(); i++) {
            if (!blocks[i].empty()) all[i] = reinterpret_cast<uint64_t>(blocks[i].data());
        }
        return all;
    }

    K* row(uint32_t position, bool is_value) {
        return blocks[position / BLOCK].data() + layer_offset() + is_value * values_offset() + position % BLOCK * width;
    }

    void fill(uint32_t from, uint32_t to) {
        for (uint32_t position = from; position < to; position++) {
            for (bool is_value : {false, true}) {
                const auto numbers = noise<K>(width);
                std::copy(numbers.begin(), numbers.end(), row(position, is_value));
            }
        }
    }
};
