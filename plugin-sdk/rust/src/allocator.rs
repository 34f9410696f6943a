//! The allocator of components: an arena that is part of the initial memory, and behind it the standard one.
//!
//! A component lives for one call. Most need a few kilobytes, and asking the host for more memory costs more than
//! all the rest of a small plugin: two changes of the memory's protection a run. So small needs are met from the
//! arena, where only the last allocation is ever given back; what does not fit goes to the standard allocator,
//! which reuses what it gets back.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// Enough for a plugin whose input and answers are small.
const ARENA_BYTES: usize = 32 * 1024;

/// What the arena is aligned to; what needs more goes to the standard allocator.
const ALIGNMENT: usize = align_of::<u128>();

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

struct Allocator {
    arena: UnsafeCell<[u128; ARENA_BYTES / ALIGNMENT]>,
    /// Bytes from the arena's start that are handed out.
    used: Cell<usize>,
}

// SAFETY: there are no threads on the target for which there is a static one.
#[cfg(target_arch = "wasm32")]
unsafe impl Sync for Allocator {}

impl Allocator {
    const fn new() -> Self {
        Self { arena: UnsafeCell::new([0; ARENA_BYTES / ALIGNMENT]), used: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.arena.get().cast()
    }

    /// How far into the arena the address lies, if it does.
    fn offset(&self, address: *mut u8) -> Option<usize> {
        let offset = address.addr().wrapping_sub(self.start().addr());
        (offset < ARENA_BYTES).then_some(offset)
    }

    /// Where the next allocation of that layout would be, and where it would end.
    fn place(&self, layout: Layout) -> Option<(usize, usize)> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let offset = self.used.get().next_multiple_of(layout.align());
        let end = offset.checked_add(layout.size())?;
        (end <= ARENA_BYTES).then_some((offset, end))
    }
}

// SAFETY: ranges of the arena that are handed out never overlap, since `used` only goes back to the start of the
// last one; they are aligned as asked, since the arena is aligned to the most that is taken from it. Everything
// else is the standard allocator's, and goes back to it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((offset, end)) = self.place(layout) else {
            // SAFETY: the caller's promises are those of the standard allocator.
            return unsafe { System.alloc(layout) };
        };
        self.used.set(end);
        // SAFETY: `place` keeps the range inside the arena.
        unsafe { self.start().add(offset) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        match self.offset(address) {
            Some(offset) if offset + layout.size() == self.used.get() => self.used.set(offset),
            Some(_) => {}
            // SAFETY: it is not from the arena, so it is from the standard allocator.
            None => unsafe { System.dealloc(address, layout) },
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(address) else {
            // SAFETY: it is not from the arena, so it is from the standard allocator.
            return unsafe { System.realloc(address, layout, size) };
        };
        let last = offset + layout.size() == self.used.get();
        if last && size <= ARENA_BYTES - offset {
            self.used.set(offset + size);
            return address;
        }
        if size <= layout.size() {
            return address;
        }
        // SAFETY: the caller promises that the new size, rounded up to the alignment, is a valid one.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both ranges hold the old size, and a new range never overlaps one that is handed out.
            unsafe { std::ptr::copy_nonoverlapping(address, new, layout.size()) };
            // SAFETY: the caller gives it up.
            unsafe { self.dealloc(address, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout};

    use super::{ARENA_BYTES, Allocator};

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn allocations_are_aligned_and_do_not_overlap() {
        let allocator = Allocator::new();
        let mut end = 0;
        for (size, align) in [(3, 1), (8, 8), (1, 2), (32, 16), (5, 4)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not zero.
            let address = unsafe { allocator.alloc(layout) };
            assert!(address.addr().is_multiple_of(align));
            let offset = allocator.offset(address).unwrap();
            assert!(offset >= end);
            end = offset + size;
        }
    }

    #[test]
    fn the_last_allocation_is_given_back_and_grows_in_place() {
        let allocator = Allocator::new();
        // SAFETY: sizes are not zero, and every address is given up with the layout that it has then.
        unsafe {
            let first = allocator.alloc(bytes(10));
            let last = allocator.alloc(bytes(10));
            assert_eq!(allocator.realloc(last, bytes(10), 100), last);
            assert_eq!(allocator.used.get(), 110);
            allocator.dealloc(last, bytes(100));
            assert_eq!(allocator.used.get(), 10);
            allocator.dealloc(first, bytes(10));
            assert_eq!(allocator.used.get(), 0);
        }
    }

    #[test]
    fn what_moves_keeps_its_content() {
        let allocator = Allocator::new();
        // SAFETY: as above.
        unsafe {
            let moved = allocator.alloc(bytes(4));
            moved.copy_from(b"abcd".as_ptr(), 4);
            let _other = allocator.alloc(bytes(1));
            let moved = allocator.realloc(moved, bytes(4), 64);
            assert_eq!(std::slice::from_raw_parts(moved, 4), b"abcd");
            let outside = allocator.realloc(moved, bytes(64), ARENA_BYTES);
            assert_eq!(std::slice::from_raw_parts(outside, 4), b"abcd");
            assert!(allocator.offset(outside).is_none());
            let outside = allocator.realloc(outside, bytes(ARENA_BYTES), 2);
            assert_eq!(std::slice::from_raw_parts(outside, 2), b"ab");
            allocator.dealloc(outside, bytes(2));
        }
    }

    #[test]
    fn what_does_not_fit_is_the_standard_allocators() {
        let allocator = Allocator::new();
        let wide = Layout::from_size_align(8, 4096).unwrap();
        for layout in [bytes(ARENA_BYTES + 1), wide] {
            // SAFETY: as above.
            unsafe {
                let address = allocator.alloc(layout);
                assert!(allocator.offset(address).is_none());
                allocator.dealloc(address, layout);
            }
        }
        assert_eq!(allocator.used.get(), 0);
    }
}
