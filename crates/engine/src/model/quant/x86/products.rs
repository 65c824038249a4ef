//! How panels are multiplied with rows, for any instruction set.
//!
//! The module that expands this has, for its instructions,
//! - `add_group`: adds the products of a group of 8 columns with R rows' values;
//! - `add_scaled`: the same, times what the first and what the last 16 weights of every column are scaled by;
//! - `each_scale`: takes scales that stand in pairs apart, as `add_scaled` wants them;
//! - `add_pairs`: adds the products of pairs of 16 bits.

/// The features of the functions, and for how many rows weights are unpacked at a time, the most first.
macro_rules! products {
    ($features:tt, [$($rows:literal),*]) => {
        /// The products of panels with all rows, into [panels, rows, 8].
        #[target_feature(enable = $features)]
        pub(in super::super) fn multiply(
            format: Format,
            panels: &[u8],
            panel_bytes: usize,
            x: &Activations<'_>,
            out: &mut [f32],
        ) {
            let some = panels.chunks_exact(panel_bytes).zip(out.chunks_exact_mut(x.rows * COLUMNS));
            for (panel, out) in some {
                let mut out = out.as_chunks_mut::<COLUMNS>().0;
                while !out.is_empty() {
                    let first = x.rows - out.len();
                    $(if out.len() >= $rows {
                        put(out, dot::<$rows>(format, panel, x, first));
                        out = &mut out[$rows..];
                        continue;
                    })*
                }
            }
        }

        /// The products of a panel with R rows.
        #[inline]
        #[target_feature(enable = $features)]
        fn dot<const R: usize>(
            format: Format,
            panel: &[u8],
            x: &Activations<'_>,
            first: usize,
        ) -> [__m256; R] {
            match format {
                Format::Q4_0 => dot_32::<R, 4, { Format::Q4_0.panel_block_bytes() }>(panel, -8.0, x, first),
                Format::Q4_1 => dot_32::<R, 4, { Format::Q4_1.panel_block_bytes() }>(panel, 0.0, x, first),
                Format::Q5_0 => {
                    dot_32::<R, 5, { Format::Q5_0.panel_block_bytes() }>(panel, -16.0, x, first)
                }
                Format::Q5_1 => dot_32::<R, 5, { Format::Q5_1.panel_block_bytes() }>(panel, 0.0, x, first),
                Format::Q8_0 => dot_32::<R, 8, { Format::Q8_0.panel_block_bytes() }>(panel, 0.0, x, first),
                Format::Q4K => dot_q4k(panel, x, first),
                Format::Q6K => dot_q6k(panel, x, first),
                Format::F16 => dot_floats::<R, false>(panel, x, first),
                Format::BF16 => dot_floats::<R, true>(panel, x, first),
            }
        }

        /// A weight is scale * (w + shift), or scale * w + minimum where the format has one.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_32<const R: usize, const BITS: usize, const BYTES: usize>(
            panel: &[u8],
            shift: f32,
            x: &Activations<'_>,
            first: usize,
        ) -> [__m256; R] {
            let panel = panel.as_chunks::<BYTES>().0;
            let x = rows::<_, R>(&x.by_32, panel.len(), first);
            let weights_at = BYTES - GROUP * BITS;
            let mut sums = [_mm256_setzero_ps(); R];
            for (number, block) in panel.iter().enumerate() {
                let scale = halves(block, 0);
                let minimum = match weights_at {
                    32 => halves(block, 16),
                    _ => _mm256_mul_ps(scale, _mm256_set1_ps(shift)),
                };
                let mut values = [&x[0][number].values; R];
                for row in 1..R {
                    values[row] = &x[row][number].values;
                }
                let mut products = [_mm256_setzero_si256(); R];
                add_group::<R, BITS>(&block[weights_at..], values, &mut products);
                for row in 0..R {
                    let x = &x[row][number];
                    let scale = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale));
                    sums[row] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(products[row]), sums[row]);
                    // Weights with a sign of their own are shifted by nothing.
                    if BITS < 8 {
                        sums[row] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x.sum), sums[row]);
                    }
                }
            }
            sums
        }

        /// A weight is scale * its group's scale * w - minimum * its group's minimum.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_q4k<const R: usize>(panel: &[u8], x: &Activations<'_>, first: usize) -> [__m256; R] {
            const FORMAT: Format = Format::Q4K;
            let panel = panel.as_chunks::<{ FORMAT.panel_block_bytes() }>().0;
            let x = rows::<_, R>(&x.by_256, panel.len(), first);
            let mut sums = [_mm256_setzero_ps(); R];
            for (number, block) in panel.iter().enumerate() {
                let mut products = [_mm256_setzero_si256(); R];
                let mut taken = [_mm256_setzero_si256(); R];
                for pair in 0..4 {
                    let scales = _mm256_cvtepu8_epi16(load_half(block, FORMAT.scales_at() + 16 * pair));
                    let minima = _mm256_cvtepu8_epi16(load_half(block, FORMAT.minima_at() + 16 * pair));
                    for (side, scale) in each_scale(scales).into_iter().enumerate() {
                        let number_of = 2 * pair + side;
                        let at = FORMAT.weights_at() + number_of * FORMAT.group_bytes();
                        let values = values_of(&x, number, number_of);
                        add_scaled::<R, 4>(&block[at..], values, [scale; 2], &mut products);
                    }
                    for row in 0..R {
                        let sums = two(&x[row][number].by_32[pair]);
                        taken[row] = add_pairs(taken[row], minima, sums);
                    }
                }
                let (scale, minimum) = (halves(block, 0), halves(block, 16));
                for row in 0..R {
                    let product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(products[row]));
                    let product = _mm256_fnmadd_ps(minimum, _mm256_cvtepi32_ps(taken[row]), product);
                    let scale = _mm256_set1_ps(x[row][number].scale);
                    sums[row] = _mm256_fmadd_ps(scale, product, sums[row]);
                }
            }
            sums
        }

        /// A weight is scale * its half group's scale * (w - 32).
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_q6k<const R: usize>(panel: &[u8], x: &Activations<'_>, first: usize) -> [__m256; R] {
            const FORMAT: Format = Format::Q6K;
            let panel = panel.as_chunks::<{ FORMAT.panel_block_bytes() }>().0;
            let x = rows::<_, R>(&x.by_256, panel.len(), first);
            let mut sums = [_mm256_setzero_ps(); R];
            for (number, block) in panel.iter().enumerate() {
                let mut products = [_mm256_setzero_si256(); R];
                let mut taken = [_mm256_setzero_si256(); R];
                for number_of in 0..8 {
                    let at = FORMAT.scales_at() + 16 * number_of;
                    let scales = _mm256_cvtepi8_epi16(load_half(block, at));
                    let at = FORMAT.weights_at() + number_of * FORMAT.group_bytes();
                    let values = values_of(&x, number, number_of);
                    add_scaled::<R, 6>(&block[at..], values, each_scale(scales), &mut products);
                    for row in 0..R {
                        let sums = two(&x[row][number].by_16[number_of]);
                        taken[row] = add_pairs(taken[row], scales, sums);
                    }
                }
                let scale = halves(block, 0);
                for row in 0..R {
                    let taken = _mm256_slli_epi32::<5>(taken[row]);
                    let product = _mm256_cvtepi32_ps(_mm256_sub_epi32(products[row], taken));
                    let scale = _mm256_mul_ps(scale, _mm256_set1_ps(x[row][number].scale));
                    sums[row] = _mm256_fmadd_ps(scale, product, sums[row]);
                }
            }
            sums
        }
    };
}
