// Runs every kernel of step.cu on a CPU, on small random shapes, and compares it with plain references in f64. Checks
// too that results are the same bit for bit in any company, and that nothing is read or written that should not be:
// what is invisible holds NaN or has no valid address. `check quick` leaves out the larger cases of attention.

#include "testing.h"

static void check_types() {
    for (float x : noise<float>(20000, 3.0f)) {
        for (float scale : {1.0f, 1e-3f, 1e-5f, 1e-7f, 1e4f}) {
            expect("types", rounded<__half>(x * scale) == Type<__half>::round(x * scale), "f16 is rounded otherwise");
            expect("types", rounded<__nv_bfloat16>(x * scale) == Type<__nv_bfloat16>::round(x * scale),
                   "bf16 is rounded otherwise");
        }
    }
    tallies["types"].numbers += 200000;
}

// ---- Kernels over rows

template <typename T> void check_add_norm() {
    const std::string name = std::string("add_norm_") + Type<T>::name;
    for (int width : {1, 31, 256, 300, 1027}) {
        const uint32_t rows = 3;
        const float eps = 0.1f;  // So large that it matters.
        const auto x = noise<T>(rows * width), y = noise<T>(rows * width), weight = noise<T>(width);
        auto sum = poison<T>(rows * width), normed = sum, lone_sum = poison<T>(width), lone = lone_sum;
        launch({rows}, 256, [&] {
            Type<T>::add_norm(x.data(), y.data(), weight.data(), sum.data(), normed.data(), width, eps);
        });
        std::vector<double> want_sum(rows * width), want(rows * width);
        for (uint32_t row = 0; row < rows; row++) {
            double squares = 0.0;
            for (size_t i = size_t(row) * width; i < size_t(row + 1) * width; i++) {
                want_sum[i] = Type<T>::round(double(to_float(x[i])) + to_float(y[i]));
                squares += want_sum[i] * want_sum[i];
            }
            for (int i = 0; i < width; i++) {
                want[row * width + i] =
                    want_sum[row * width + i] / std::sqrt(squares / width + eps) * to_float(weight[i]);
            }
        }
        for (size_t i = 0; i < sum.size(); i++) {
            expect(name, to_float(sum[i]) == want_sum[i], "the sum is rounded otherwise");
        }
        compare(name, normed, want, Type<T>::unit + F32);
        launch({1}, 256, [&] {
            Type<T>::add_norm(x.data() + 2 * width, y.data() + 2 * width, weight.data(), lone_sum.data(), lone.data(),
                              width, eps);
        });
        expect(name, same_bits(lone.data(), normed.data() + 2 * width, width), "differs alone");
    }
}

template <typename T> void check_gate() {
    const std::string name = std::string("gate_") + Type<T>::name;
    struct Case {
        uint32_t width, stride, grid;
        int is_gelu;
        float most;
    };
    for (const Case& c : {Case{1, 1, 1, 0, 3.0f}, {33, 71, 2, 1, 3.0f}, {300, 601, 1, 0, 3.0f}, {700, 700, 3, 1, 3.0f},
                          {300, 300, 2, 0, 6e4f}, {300, 300, 2, 1, 6e4f}}) {
        const uint32_t rows = 5;
        const auto gates = noise<T>(rows * c.stride, c.most), ups = noise<T>(rows * c.stride, 1.0f);
        auto out = poison<T>(rows * c.width);
        launch({c.grid}, 256, [&] {
            Type<T>::gate(gates.data(), ups.data(), out.data(), c.width, c.stride, out.size(), c.is_gelu);
        });
        std::vector<double> want;
        for (size_t i = 0; i < out.size(); i++) {
            const size_t at = i / c.width * c.stride + i % c.width;
            const double x = to_float(gates[at]), up = to_float(ups[at]);
            const double z = std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x);
            want.push_back((c.is_gelu ? 0.5 * x * (1.0 + std::tanh(z)) : x / (1.0 + std::exp(-x))) * up);
        }
        compare(name, out, want, Type<T>::unit + F32);
    }
}

template <typename T> void check_softmax() {
    const std::string name = std::string("softmax_") + Type<T>::name;
    struct Case {
        uint32_t heads, t, past, window;
    };
    for (const Case& c :
         {Case{2, 1, 0, 0}, {2, 3, 0, 0}, {3, 2, 299, 0}, {2, 5, 600, 0}, {2, 4, 300, 7}, {1, 6, 2, 4}}) {
        const uint32_t rows = c.heads * c.t, len = c.past + c.t;
        const float scale = 0.7f;
        const auto scores = noise<T>(rows * len, 6.0f);
        auto weights = poison<T>(rows * len), lone = scores;
        launch({rows}, 256, [&] {
            Type<T>::softmax(scores.data(), weights.data(), c.t, len, scale, c.past, c.window);
        });
        std::vector<double> want;
        for (uint32_t row = 0; row < rows; row++) {
            const uint32_t self = c.past + row % c.t;
            const auto sees = [&](uint32_t key) { return key <= self && (c.window == 0 || key + c.window > self); };
            const T* of_row = scores.data() + row * len;
            const auto power = [&](uint32_t key) { return std::exp(double(scale) * to_float(of_row[key])); };
            double sum = 0.0;
            for (uint32_t key = 0; key < len; key++) sum += sees(key) ? power(key) : 0.0;
            for (uint32_t key = 0; key < len; key++) want.push_back(sees(key) ? power(key) / sum : 0.0);
        }
        compare(name, weights, want, Type<T>::unit + F32);
        // A row alone, and in place.
        const uint32_t row = rows - 1;
        T* at = lone.data() + row * len;
        launch({1}, 256, [&] { Type<T>::softmax(at, at, 1, len, scale, c.past + row % c.t, c.window); });
        expect(name, same_bits(at, weights.data() + row * len, len), "differs alone");
    }
}

// ---- Kernels over the cache

struct FinishCase {
    uint32_t heads, kv_heads, head_dim, half;
    bool has_biases, has_norms, is_merged;
};

// The reference for one head: bias, norm and rotation, each rounded.
template <typename T>
std::vector<double> finished(const T* x, const T* bias, const T* norm, const float* cos, const float* sin,
                             uint32_t head_dim, uint32_t half, double eps) {
    std::vector<double> head(head_dim);
    double squares = 0.0;
    for (uint32_t i = 0; i < head_dim; i++) {
        head[i] = to_float(x[i]);
        if (bias) head[i] = Type<T>::round(head[i] + to_float(bias[i]));
        squares += head[i] * head[i];
    }
    for (uint32_t i = 0; norm && i < head_dim; i++) {
        head[i] = Type<T>::round(head[i] / std::sqrt(squares / head_dim + eps) * to_float(norm[i]));
    }
    for (uint32_t i = 0; i < half; i++) {
        const double a = head[i], b = head[i + half];
        head[i] = Type<T>::round(a * cos[i] - b * sin[i]);
        head[i + half] = Type<T>::round(a * sin[i] + b * cos[i]);
    }
    return head;
}

template <typename T, typename K> void check_finish(const FinishCase& c) {
    const std::string name = std::string("finish_qkv_") + Pair<T, K>::name;
    const uint32_t tokens = 3, past = 30, width = c.kv_heads * c.head_dim, q_width = c.heads * c.head_dim;
    const float eps = 0.1f;
    // One matrix of all three products, or three.
    const uint32_t merged = q_width + 2 * width, q_stride = c.is_merged ? merged : q_width;
    const uint32_t kv_stride = c.is_merged ? merged : width;
    const auto x = noise<T>(tokens * merged);
    const T* q = x.data();
    const T* k = q + (c.is_merged ? q_width : tokens * q_width);
    const T* v = k + (c.is_merged ? width : tokens * width);
    const auto q_bias = noise<T>(q_width), k_bias = noise<T>(width), v_bias = noise<T>(width);
    const auto q_norm = noise<T>(c.head_dim), k_norm = noise<T>(c.head_dim);
    const auto angles = noise<float>(tokens * c.half, 3.0f);
    std::vector<float> cos, sin;
    for (float angle : angles) cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));
    const auto run = [&](Blocks<K>& cache, std::vector<T>& queries, uint32_t first, uint32_t count) {
        std::vector<uint64_t> slots;
        const auto addresses = cache.addresses(cache.blocks.size());
        for (uint32_t at = past + first; at < past + first + count; at++) {
            slots.push_back(addresses[at / BLOCK] + at % BLOCK * width * sizeof(K));
        }
        const auto bias = [&](const std::vector<T>& bias) { return c.has_biases ? bias.data() : nullptr; };
        launch({count, (c.heads + 2 * c.kv_heads + 3) / 4}, 128, [&] {
            Pair<T, K>::finish_qkv(q + first * q_stride, k + first * kv_stride, v + first * kv_stride, q_stride,
                                   kv_stride, kv_stride, bias(q_bias), bias(k_bias), bias(v_bias),
                                   c.has_norms ? q_norm.data() : nullptr, c.has_norms ? k_norm.data() : nullptr, eps,
                                   cos.data() + first * c.half, sin.data() + first * c.half, c.half, slots.data(),
                                   cache.layer_offset(), cache.values_offset(), queries.data(), c.heads, c.kv_heads,
                                   c.head_dim);
        });
    };
    Blocks<K> cache(width, past + tokens), lone_cache(width, past + tokens);
    auto queries = poison<T>(tokens * q_width), lone = poison<T>(q_width);
    run(cache, queries, 0, tokens);
    run(lone_cache, lone, tokens - 1, 1);
    expect(name, same_bits(lone.data(), queries.data() + (tokens - 1) * q_width, q_width), "queries differ alone");
    std::vector<double> want_queries, want_cache;
    std::vector<K> got_cache;
    for (uint32_t token = 0; token < tokens; token++) {
        const float *c_of = cos.data() + token * c.half, *s_of = sin.data() + token * c.half;
        const auto head = [&](const T* x, const std::vector<T>& bias, const T* norm, uint32_t head, uint32_t half) {
            const uint32_t at = head * c.head_dim;
            return finished(x + at, c.has_biases ? bias.data() + at : nullptr, c.has_norms ? norm : nullptr, c_of, s_of,
                            c.head_dim, half, eps);
        };
        for (uint32_t h = 0; h < c.heads; h++) {
            for (double number : head(q + token * q_stride, q_bias, q_norm.data(), h, c.half)) {
                want_queries.push_back(number);
            }
        }
        for (bool is_value : {false, true}) {
            K* row = cache.row(past + token, is_value);
            if (token == tokens - 1) {
                expect(name, same_bits(row, lone_cache.row(past + token, is_value), width), "the cache differs alone");
            }
            for (uint32_t h = 0; h < c.kv_heads; h++) {
                const T* x = (is_value ? v : k) + token * kv_stride;
                for (double number : head(x, is_value ? v_bias : k_bias, is_value ? nullptr : k_norm.data(), h,
                                          is_value ? 0 : c.half)) {
                    want_cache.push_back(Type<K>::round(number));
                }
            }
            got_cache.insert(got_cache.end(), row, row + width);
            std::copy_n(poison<K>(width).begin(), width, row);
        }
    }
    // A rounding that falls to the other side is carried through the steps after it.
    compare(name, queries, want_queries, 6 * Type<T>::unit + F32);
    compare(name, got_cache, want_cache, 6 * std::max(Type<T>::unit, Type<K>::unit) + F32);
    for (const auto& block : cache.blocks) {
        expect(name, std::all_of(block.begin(), block.end(), is_poison<K>), "it wrote elsewhere");
    }
}

template <typename T, typename K> void check_gather() {
    const std::string name = std::string("gather_") + Pair<T, K>::name;
    struct Case {
        uint32_t len, from, kv_heads, head_dim, grid;
    };
    for (const Case& c : {Case{1, 0, 1, 64, 1}, {75, 0, 2, 80, 75}, {75, 40, 3, 10, 4}, {97, 95, 2, 256, 2}}) {
        const uint32_t width = c.kv_heads * c.head_dim, rows = c.len - c.from;
        Blocks<K> cache(width, c.len, c.from);
        cache.fill(c.from, c.len);
        const auto blocks = cache.addresses(cache.blocks.size());
        auto keys = poison<T>(rows * width), values = keys;
        launch({c.grid}, 256, [&] {
            Pair<T, K>::gather(blocks.data(), c.len, c.from, cache.layer_offset(), cache.values_offset(), keys.data(),
                               values.data(), c.kv_heads, c.head_dim);
        });
        for (bool is_value : {false, true}) {
            std::vector<double> want;
            for (uint32_t head = 0; head < c.kv_heads; head++) {
                for (uint32_t position = c.from; position < c.len; position++) {
                    const K* row = cache.row(position, is_value) + head * c.head_dim;
                    for (uint32_t i = 0; i < c.head_dim; i++) want.push_back(to_float(row[i]));
                }
            }
            compare(name, is_value ? values : keys, want, 0.0);
        }
    }
}

// ---- Attention

struct Query {
    uint32_t sequence, seen;
};

struct AttendCase {
    uint32_t heads, kv_heads, window;
    std::vector<Query> queries;
};

// One launch of `attend` and one of `join`.
template <typename T> struct Attended {
    uint32_t max_splits;
    std::vector<float> partial, state;
    std::vector<T> out;
};

// The first position that a query sees, told apart from the kernels' own arithmetic.
static uint32_t first_of(uint32_t seen, uint32_t window) {
    uint32_t first = seen;
    while (first > 0 && (window == 0 || seen - first < window)) first--;
    return first;
}

constexpr float SCALE = 0.3f;

template <typename T, typename K, uint32_t D>
Attended<T> run_attention(const AttendCase& c, const std::vector<T>& queries, std::vector<Blocks<K>>& caches) {
    const uint32_t count = c.queries.size();
    uint32_t most = 1;
    for (const Query& query : c.queries) most = std::max(most, query.seen);
    const uint32_t max_splits = (most + SPLIT - 1) / SPLIT, max_blocks = (most + BLOCK - 1) / BLOCK + 1;
    std::vector<uint64_t> blocks;
    std::vector<uint32_t> sequence, seen;
    for (Blocks<K>& cache : caches) {
        auto row = cache.addresses(max_blocks);
        blocks.insert(blocks.end(), row.begin(), row.begin() + max_blocks);
    }
    for (const Query& query : c.queries) sequence.push_back(query.sequence), seen.push_back(query.seen);
    const size_t states = size_t(count) * c.heads * max_splits;
    Attended<T> all{max_splits, poison<float>(states * D), poison<float>(states * 2), poison<T>(count * c.heads * D)};
    launch({count, c.kv_heads, max_splits}, 256, [&] {
        Attention<T, K, D>::attend(queries.data(), blocks.data(), sequence.data(), seen.data(), c.window,
                                   caches[0].layer_offset(), caches[0].values_offset(), SCALE, c.heads, c.kv_heads,
                                   max_blocks, max_splits, all.partial.data(), all.state.data());
    });
    // A query alone is joined by one warp only.
    launch({count, c.heads}, count == 1 ? WARP : D, [&] {
        Attention<T, K, D>::join(all.partial.data(), all.state.data(), seen.data(), c.window, c.heads, max_splits,
                                 all.out.data());
    });
    return all;
}

// The softmax over positions [begin, end): its maximum, its sum, and the weighted values.
struct Softmax {
    double most = -INFINITY, sum = 0.0;
    std::vector<double> mixed;
};

template <typename T, typename K>
Softmax softmax_over(const T* query, Blocks<K>& cache, uint32_t kv_head, uint32_t d, uint32_t begin, uint32_t end) {
    Softmax all;
    all.mixed.resize(d);
    std::vector<double> scores;
    for (uint32_t position = begin; position < end; position++) {
        const K* key = cache.row(position, false) + kv_head * d;
        double score = 0.0;
        for (uint32_t i = 0; i < d; i++) score += double(to_float(query[i])) * to_float(key[i]);
        scores.push_back(score * SCALE);
        all.most = std::max(all.most, scores.back());
    }
    for (uint32_t position = begin; position < end; position++) {
        const K* value = cache.row(position, true) + kv_head * d;
        const double weight = std::exp(scores[position - begin] - all.most);
        all.sum += weight;
        for (uint32_t i = 0; i < d; i++) all.mixed[i] += weight * to_float(value[i]);
    }
    return all;
}

// Compares one head of one query: every split, and all together.
template <typename T, typename K, uint32_t D>
void check_head(const AttendCase& c, uint32_t query, uint32_t head, const std::vector<T>& queries,
                std::vector<Blocks<K>>& caches, const Attended<T>& got) {
    using A = Attention<T, K, D>;
    const auto [sequence, seen] = c.queries[query];
    const uint32_t first = first_of(seen, c.window), row = query * c.heads + head;
    const uint32_t kv_head = head / (c.heads / c.kv_heads);
    const T* numbers = queries.data() + row * D;
    for (uint32_t split = 0; split < got.max_splits; split++) {
        const uint32_t begin = std::max(first, split * SPLIT), end = std::min(seen, (split + 1) * SPLIT);
        const size_t at = size_t(row) * got.max_splits + split;
        const std::vector<float> partial(&got.partial[at * D], &got.partial[at * D] + D);
        const std::vector<float> state(&got.state[at * 2], &got.state[at * 2] + 2);
        if (begin >= end) {
            const bool is_untouched = std::all_of(partial.begin(), partial.end(), is_poison<float>);
            expect(A::attend_name, is_untouched && is_poison(state[0]) && is_poison(state[1]), "it wrote elsewhere");
            continue;
        }
        const Softmax want = softmax_over(numbers, caches[sequence], kv_head, D, begin, end);
        compare(A::attend_name, partial, want.mixed, F32);
        compare(A::attend_name, state, {want.most, want.sum}, F32);
    }
    Softmax want = softmax_over(numbers, caches[sequence], kv_head, D, first, seen);
    for (double& number : want.mixed) number = seen == 0 ? 0.0 : number / want.sum;
    const std::vector<T> out(&got.out[row * D], &got.out[row * D] + D);
    compare(A::join_name, out, want.mixed, Type<T>::unit + F32);
}

template <typename T, typename K, uint32_t D> void check_attend(const AttendCase& c) {
    using A = Attention<T, K, D>;
    std::vector<Blocks<K>> caches;
    for (uint32_t sequence = 0; sequence <= c.queries.back().sequence; sequence++) {
        uint32_t first = UINT32_MAX, len = 0;
        for (const Query& query : c.queries) {
            if (query.sequence != sequence) continue;
            first = std::min(first, first_of(query.seen, c.window));
            len = std::max(len, query.seen);
        }
        caches.emplace_back(c.kv_heads * D, len, first);
        caches.back().fill(first, len);
    }
    const size_t width = c.heads * D;
    const auto queries = noise<T>(c.queries.size() * width);
    const Attended<T> together = run_attention<T, K, D>(c, queries, caches);
    for (uint32_t query = 0; query < c.queries.size(); query++) {
        for (uint32_t head = 0; head < c.heads; head++) {
            check_head<T, K, D>(c, query, head, queries, caches, together);
        }
    }
    // The last query alone: other tables, and no more splits than it needs itself.
    const size_t last = c.queries.size() - 1;
    const Query query = c.queries[last];
    std::vector<Blocks<K>> own{caches[query.sequence]};
    const std::vector<T> numbers(queries.begin() + last * width, queries.end());
    const Attended<T> lone = run_attention<T, K, D>({c.heads, c.kv_heads, c.window, {{0, query.seen}}}, numbers, own);
    expect(A::join_name, same_bits(lone.out.data(), &together.out[last * width], width), "differs alone");
    for (uint32_t head = 0; head < c.heads; head++) {
        const size_t a = head * lone.max_splits, b = (last * c.heads + head) * together.max_splits;
        expect(A::attend_name,
               same_bits(&lone.partial[a * D], &together.partial[b * D], lone.max_splits * D) &&
                   same_bits(&lone.state[a * 2], &together.state[b * 2], lone.max_splits * 2),
               "differs alone");
    }
}

template <typename T, typename K, uint32_t D> void check_attention(bool is_quick) {
    // Groups of 7 and of 4, windows that begin within a block and within a split, and a group of two turns.
    check_attend<T, K, D>({7, 1, 0, {{0, 299}, {0, 300}, {1, 1}, {2, 33}}});
    check_attend<T, K, D>({8, 2, 70, {{0, 600}, {1, 3}, {2, 300}}});
    check_attend<T, K, D>({11, 1, 1, {{0, 257}, {1, 40}}});
    if (is_quick) return;
    check_attend<T, K, D>({3, 3, 300, {{0, 290}, {1, 0}, {2, 513}, {3, 256}}});
    check_attend<T, K, D>({16, 1, 0, {{0, 45}, {1, 800}, {2, 700}}});
}

template <typename T> void check_type() {
    check_add_norm<T>();
    check_gate<T>();
    check_softmax<T>();
}

template <typename T, typename K> void check_pair(bool is_quick) {
    for (const FinishCase& c : {FinishCase{4, 1, 64, 32, true, false, true}, {7, 1, 80, 40, false, true, true},
                                {2, 2, 96, 24, true, true, false}, {3, 3, 256, 128, false, false, false},
                                {4, 2, 128, 0, true, true, true}, {1, 1, 10, 3, true, true, true}}) {
        check_finish<T, K>(c);
    }
    check_gather<T, K>();
    check_attention<T, K, 16>(is_quick);
    check_attention<T, K, 32>(is_quick);
    check_attention<T, K, 64>(is_quick);
    check_attention<T, K, 80>(is_quick);
    check_attention<T, K, 96>(is_quick);
    check_attention<T, K, 128>(is_quick);
    check_attention<T, K, 256>(is_quick);
}

int main(int count, char** arguments) {
    const bool is_quick = count > 1 && std::string(arguments[1]) == "quick";
    check_types();
    check_type<float>();
    check_type<__half>();
    check_type<__nv_bfloat16>();
    check_pair<float, float>(is_quick);
    check_pair<float, __half>(is_quick);
    check_pair<__half, __half>(is_quick);
    check_pair<__nv_bfloat16, __nv_bfloat16>(is_quick);
    const int failed = report();
    if (failed > 0) std::printf("%d of %zu kernels failed\n", failed, tallies.size());
    return failed > 0;
}
