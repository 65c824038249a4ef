//! How panels are multiplied with rows, for any instruction set.
//!
//! The module that expands this defines how many panels are side by side in a vector (`PANELS`), and for its vectors:
//! - the types `Ints` and `Floats`, and instructions by what they do (`and`, `fmadd`);
//! - `load_16` and `load_32`: load 16 and 32 bytes of every panel's block;
//! - `begin`: what the sums of products begin with;
//! - `add_group`: adds the products of a group with R rows' values;
//! - `add_scaled`: the same, scaled separately for the first and the last 16 weights of every column;
//! - `each_scale`: splits scales that are stored in pairs, as `add_scaled` needs them;
//! - `add_pairs`: adds the products of pairs of 16 bits;
//! - `put`: writes the products of R rows.

/// Takes the features of the functions, and for how many rows weights are unpacked at a time, the most first.
macro_rules! products {
    ($features:tt, [$($rows:literal),*]) => {
        /// A block of each of the panels side by side.
        pub(super) type Blocks<'a> = [&'a [u8]; PANELS];

        /// Computes the products of panels with the rows from `first` on, into [panels, rows, 8].
        #[target_feature(enable = $features)]
        pub(in super::super) fn multiply(
            format: Format,
            panels: &[u8],
            panel_bytes: usize,
            x: &Activations<'_>,
            first: usize,
            out: &mut [f32],
        ) {
            if first == x.rows {
                return;
            }
            let some = panels.chunks(panel_bytes * PANELS).zip(out.chunks_mut(PANELS * x.rows * COLUMNS));
            for (bytes, out) in some {
                // If one is missing, the first takes its place, and its products are written once.
                let mut panels = [&bytes[..panel_bytes]; PANELS];
                for (panel, bytes) in panels.iter_mut().zip(bytes.chunks_exact(panel_bytes)) {
                    *panel = bytes;
                }
                let mut first = first;
                while first < x.rows {
                    $(if x.rows - first >= $rows {
                        put(out, first, x.rows, dot::<$rows>(format, panels, x, first));
                        first += $rows;
                        continue;
                    })*
                }
            }
        }

        /// Returns the products of panels with R rows.
        #[inline]
        #[target_feature(enable = $features)]
        fn dot<const R: usize>(
            format: Format,
            panels: [&[u8]; PANELS],
            x: &Activations<'_>,
            first: usize,
        ) -> [Floats; R] {
            match format {
                Format::Q4_0 => dot_32::<R, 4, { Format::Q4_0.panel_block_bytes() }>(panels, -8.0, x, first),
                Format::Q4_1 => dot_32::<R, 4, { Format::Q4_1.panel_block_bytes() }>(panels, 0.0, x, first),
                Format::Q5_0 => dot_32::<R, 5, { Format::Q5_0.panel_block_bytes() }>(panels, -16.0, x, first),
                Format::Q5_1 => dot_32::<R, 5, { Format::Q5_1.panel_block_bytes() }>(panels, 0.0, x, first),
                Format::Q8_0 => dot_32::<R, 8, { Format::Q8_0.panel_block_bytes() }>(panels, 0.0, x, first),
                Format::Q4K => dot_q4k(panels, x, first),
                Format::Q6K => dot_q6k(panels, x, first),
                Format::F16 | Format::BF16 => unreachable!("floats have a kernel of their own"),
            }
        }

        /// Returns a block of every panel.
        #[inline]
        fn blocks<'a, const BYTES: usize>(panels: [&'a [u8]; PANELS], number: usize) -> Blocks<'a> {
            panels.map(|panel| &panel[number * BYTES..][..BYTES])
        }

        /// A weight is scale * (w + shift), or scale * w + minimum if the format has one.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_32<const R: usize, const BITS: usize, const BYTES: usize>(
            panels: [&[u8]; PANELS],
            shift: f32,
            x: &Activations<'_>,
            first: usize,
        ) -> [Floats; R] {
            let count = panels[0].len() / BYTES;
            let x = rows::<_, R>(&x.by_32, count, first);
            let weights_at = BYTES - GROUP * BITS;
            let mut sums = [floats_zero(); R];
            for number in 0..count {
                let block = blocks::<BYTES>(panels, number);
                let scale = from_half(load_16(block, 0));
                let minimum = match weights_at {
                    32 => from_half(load_16(block, 16)),
                    _ => mul(scale, splat_f32(shift)),
                };
                let mut values = [&x[0][number].values; R];
                let mut products = [begin::<BITS>(x[0][number].whole); R];
                for row in 1..R {
                    values[row] = &x[row][number].values;
                    products[row] = begin::<BITS>(x[row][number].whole);
                }
                add_group::<R, BITS>(block, weights_at, values, &mut products);
                for row in 0..R {
                    let x = &x[row][number];
                    let scale = mul(scale, splat_f32(x.scale));
                    sums[row] = fmadd(scale, to_f32(products[row]), sums[row]);
                    // Signed weights are not shifted.
                    if BITS < 8 {
                        sums[row] = fmadd(minimum, splat_f32(x.sum), sums[row]);
                    }
                }
            }
            sums
        }

        /// A weight is scale * its group's scale * w - minimum * its group's minimum.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_q4k<const R: usize>(
            panels: [&[u8]; PANELS],
            x: &Activations<'_>,
            first: usize,
        ) -> [Floats; R] {
            const FORMAT: Format = Format::Q4K;
            const BYTES: usize = FORMAT.panel_block_bytes();
            let count = panels[0].len() / BYTES;
            let x = rows::<_, R>(&x.by_256, count, first);
            let mut sums = [floats_zero(); R];
            for number in 0..count {
                let block = blocks::<BYTES>(panels, number);
                let mut products = [zero(); R];
                let mut taken = [zero(); R];
                for pair in 0..4 {
                    let scales = widen_unsigned(load_16(block, FORMAT.scales_at() + 16 * pair));
                    let minima = widen_unsigned(load_16(block, FORMAT.minima_at() + 16 * pair));
                    // Not a loop: compilers do not always unroll it.
                    let [first, second] = each_scale(scales);
                    let at = FORMAT.weights_at() + 2 * pair * FORMAT.group_bytes();
                    let values = values_of(&x, number, 2 * pair);
                    add_scaled::<R, 4>(block, at, values, [first; 2], &mut products);
                    let at = at + FORMAT.group_bytes();
                    let values = values_of(&x, number, 2 * pair + 1);
                    add_scaled::<R, 4>(block, at, values, [second; 2], &mut products);
                    for row in 0..R {
                        let sums = splat_i32(two(&x[row][number].by_32[pair]));
                        taken[row] = add_pairs(taken[row], minima, sums);
                    }
                }
                let (scale, minimum) = (from_half(load_16(block, 0)), from_half(load_16(block, 16)));
                for row in 0..R {
                    let product = mul(scale, to_f32(products[row]));
                    let product = fnmadd(minimum, to_f32(taken[row]), product);
                    let scale = splat_f32(x[row][number].scale);
                    sums[row] = fmadd(scale, product, sums[row]);
                }
            }
            sums
        }

        /// A weight is scale * its half group's scale * (w - 32).
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn dot_q6k<const R: usize>(
            panels: [&[u8]; PANELS],
            x: &Activations<'_>,
            first: usize,
        ) -> [Floats; R] {
            const FORMAT: Format = Format::Q6K;
            const BYTES: usize = FORMAT.panel_block_bytes();
            let count = panels[0].len() / BYTES;
            let x = rows::<_, R>(&x.by_256, count, first);
            let mut sums = [floats_zero(); R];
            for number in 0..count {
                let block = blocks::<BYTES>(panels, number);
                let mut products = [zero(); R];
                let mut taken = [zero(); R];
                for number_of in 0..8 {
                    let at = FORMAT.scales_at() + 16 * number_of;
                    let scales = widen_signed(load_16(block, at));
                    let at = FORMAT.weights_at() + number_of * FORMAT.group_bytes();
                    let values = values_of(&x, number, number_of);
                    add_scaled::<R, 6>(block, at, values, each_scale(scales), &mut products);
                    for row in 0..R {
                        let sums = splat_i32(two(&x[row][number].by_16[number_of]));
                        taken[row] = add_pairs(taken[row], scales, sums);
                    }
                }
                let scale = from_half(load_16(block, 0));
                for row in 0..R {
                    let taken = shift_32::<5>(taken[row]);
                    let product = to_f32(sub_32(products[row], taken));
                    let scale = mul(scale, splat_f32(x[row][number].scale));
                    sums[row] = fmadd(scale, product, sums[row]);
                }
            }
            sums
        }

        /// Returns four weights of every column, as bytes, of the group that begins at `at`.
        #[inline]
        #[target_feature(enable = $features)]
        pub(super) fn vector_of<const BITS: usize, const VECTOR: usize>(block: Blocks<'_>, at: usize) -> Ints {
            if BITS == 8 {
                return load_32(block, at + 32 * VECTOR);
            }
            let packed = load_32(block, at + 32 * (VECTOR % 4));
            let packed = if VECTOR < 4 { packed } else { right::<4>(packed) };
            let low = and(packed, splat_i8(15));
            // Moves the bits above the fourth there, from where this vector has them.
            let more = at + 128 + if BITS == 6 { 32 * (VECTOR / 4) } else { 0 };
            let (high, mask) = match (BITS, VECTOR) {
                (5, 0) => (left::<4>(load_32(block, more)), 16),
                (5, 1) => (left::<3>(load_32(block, more)), 16),
                (5, 2) => (left::<2>(load_32(block, more)), 16),
                (5, 3) => (left::<1>(load_32(block, more)), 16),
                (5, 4) => (load_32(block, more), 16),
                (5, 5) => (right::<1>(load_32(block, more)), 16),
                (5, 6) => (right::<2>(load_32(block, more)), 16),
                (5, 7) => (right::<3>(load_32(block, more)), 16),
                (6, 0 | 4) => (left::<4>(load_32(block, more)), 48),
                (6, 1 | 5) => (left::<2>(load_32(block, more)), 48),
                (6, 2 | 6) => (load_32(block, more), 48),
                (6, 3 | 7) => (right::<2>(load_32(block, more)), 48),
                _ => return low,
            };
            or(low, and(high, splat_i8(mask)))
        }
    };
}
