//! The allocator: mimalloc, asked in the way that wastes nothing.
//!
//! Small allocations dominate a broker's work; mimalloc does them at less cost than the system's allocator, and gives memory
//! freed by another thread back to its owner without a lock.

use std::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_int, c_long},
};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_option_get, mi_option_set, mi_realloc_aligned,
    mi_zalloc, mi_zalloc_aligned,
};

/// What every block of mimalloc is aligned to that is not smaller (`MI_MAX_ALIGN_SIZE` in its header).
const NATURAL: usize = 16;

/// The number of mimalloc's option `generic_collect` (`mi_option_e` in its header): after so many allocations that found
/// no block at hand, a thread walks through everything it has allocated for what other threads have freed.
const GENERIC_COLLECT: c_int = 34;

/// What mimalloc sets it to.
const RARELY: c_long = 10_000;

/// The least that mimalloc heeds.
const OFTEN: c_long = 1_000;

/// mimalloc as the program's allocator.
///
/// The crate `mimalloc` names the alignment at every allocation. That makes mimalloc ask for some bytes more than the size
/// whenever it has no block at hand (<https://github.com/microsoft/mimalloc/issues/889>): what would fill a block exactly
/// gets one of the next size, a quarter larger, by a longer way. So the alignment is named only where it is more than that
/// of any block. `docs/performance.md` has what it gained.
#[derive(Debug, Clone, Copy)]
pub struct Allocator;

/// Whether every block that is large enough is aligned as it has to be.
#[inline]
fn aligned_anyway(layout: Layout) -> bool {
    layout.align() <= NATURAL && layout.align() <= layout.size()
}

// SAFETY: the functions of mimalloc keep the contract of `GlobalAlloc`: they give blocks that belong to nobody else, null if
// there is no memory, and none of them unwinds. The blocks are aligned: by themselves where `aligned_anyway` says so, as all
// sizes of blocks but that of 8 bytes are multiples of 16 (the table of bins in mimalloc's `init.c`) and so are their
// beginnings; and because the alignment is named elsewhere.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match aligned_anyway(layout) {
            // SAFETY: it takes any size.
            true => unsafe { mi_malloc(layout.size()) },
            // SAFETY: it takes any size, and an alignment that is a power of two, as that of a layout is.
            false => unsafe { mi_malloc_aligned(layout.size(), layout.align()) },
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = match aligned_anyway(layout) {
            // SAFETY: it takes any size.
            true => unsafe { mi_zalloc(layout.size()) },
            // SAFETY: it takes any size, and an alignment that is a power of two, as that of a layout is.
            false => unsafe { mi_zalloc_aligned(layout.size(), layout.align()) },
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's promise is that the block came from here; whether its alignment was named is the same to
        // `mi_free`.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is that the block came from here. An alignment of a word is not asked for as such.
        unsafe { mi_realloc_aligned(block.cast(), size, layout.align()).cast() }
    }
}

/// Makes mimalloc's walks through all memory of a thread ten times as frequent and that much shorter. With a million messages
/// that one thread published and another one dropped, those walks were the longest pauses of the queue: up to 20 ms
/// (`docs/performance.md`). To be called before there are other threads.
pub fn collect_in_small_steps() {
    // SAFETY: no other thread runs yet. An option is a number in a table, and one of another name is not touched: it has
    // another value, as has this one when the environment sets it (`MIMALLOC_GENERIC_COLLECT`).
    unsafe {
        if mi_option_get(GENERIC_COLLECT) == RARELY {
            mi_option_set(GENERIC_COLLECT, OFTEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::{mi_good_size, mi_usable_size};

    use super::*;

    /// Address and room of several blocks of a layout, which are given back. The first of a size is the one that mimalloc has
    /// none at hand for.
    fn blocks(layout: Layout) -> Vec<(usize, usize)> {
        // SAFETY: the layouts of these tests are not empty, and each block is freed once, with its layout.
        unsafe {
            let blocks: Vec<_> = (0..5).map(|_| Allocator.alloc(layout)).collect();
            let room = |block: *mut u8| (block as usize, mi_usable_size(block.cast()));
            let found = blocks.iter().map(|&block| room(block)).collect();
            for block in blocks {
                Allocator.dealloc(block, layout);
            }
            found
        }
    }

    #[test]
    fn the_option_of_that_number_has_the_value_of_generic_collect() {
        // SAFETY: reads a number out of a table.
        assert_eq!(unsafe { mi_option_get(GENERIC_COLLECT) }, RARELY);
    }

    #[test]
    fn blocks_of_every_size_are_aligned() {
        for align in [1, 2, 4, 8, 16, 32, 64, 4096] {
            for size in (1..2048).chain((2048..100_000).step_by(1000)) {
                for (address, room) in blocks(Layout::from_size_align(size, align).unwrap()) {
                    assert_eq!(address % align, 0, "{size} bytes aligned to {align}");
                    assert!(room >= size);
                }
            }
        }
    }

    #[test]
    fn what_fills_a_block_exactly_gets_that_block() {
        // A message of 136 bytes, entries of connections and queues, and a row of a queue's messages among them.
        for size in [48, 80, 96, 112, 128, 136, 160, 192, 320, 640, 1280, 8192] {
            // SAFETY: it takes any size.
            let good = unsafe { mi_good_size(size) };
            for (_, room) in blocks(Layout::from_size_align(size, 8).unwrap()) {
                assert_eq!(room, good, "{size} bytes");
            }
        }
    }

    #[test]
    fn a_block_keeps_its_bytes_when_it_grows_and_is_zero_when_that_is_asked_for() {
        for align in [1, 8, 16, 64] {
            let layout = Layout::from_size_align(100, align).unwrap();
            // SAFETY: within the sizes asked for, and freed once with the last of them.
            unsafe {
                let block = Allocator.alloc_zeroed(layout);
                assert!((0..100).all(|at| *block.add(at) == 0));
                block.write_bytes(7, 100);
                let block = Allocator.realloc(block, layout, 5000);
                assert_eq!(block as usize % align, 0);
                assert!((0..100).all(|at| *block.add(at) == 7));
                Allocator.dealloc(block, Layout::from_size_align(5000, align).unwrap());
            }
        }
    }
}
