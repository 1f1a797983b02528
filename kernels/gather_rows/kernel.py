"""The kernel of `gather_rows` in LLVM's language: lines of the cache, copied or widened.

Two forms of stores: through the cache, or past it (non-temporal), which neither reads a line before
it is overwritten nor drives others out. Past the cache, a processor does not fetch ahead by itself
across the pages of a file; the kernel asks for lines two kibibytes before they are read.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import llvmlite
import llvmlite.binding as llvm

_OLDEST = (0, 45)
if tuple(int(part) for part in llvmlite.__version__.split(".")[:2]) < _OLDEST:
    raise ImportError(f"llvmlite {llvmlite.__version__} is older than 0.45")

LINE_BYTES = 64
_AHEAD_BYTES = 2048

Gather = Callable[[int, int, int, int, int], None]
"""Address of the output, of the table, of the int64 row numbers; how many; numbers per row."""

_PROGRAM = """
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)

define void @gather(ptr %out, ptr %table, ptr %where, i64 %count, i64 %width) {{
entry:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %row
row:
  %i = phi i64 [ 0, %entry ], [ %i.next, %row.end ]
  %place = getelementptr i64, ptr %where, i64 %i
  %number = load i64, ptr %place
  %first = mul i64 %number, %width
  %source = getelementptr {stored}, ptr %table, i64 %first
  %start = mul i64 %i, %width
  %target = getelementptr {given}, ptr %out, i64 %start
  br label %line
line:
  %j = phi i64 [ 0, %row ], [ %j.next, %line ]
  %from = getelementptr {stored}, ptr %source, i64 %j
  %to = getelementptr {given}, ptr %target, i64 %j
  {prefetch}
  %read = load <{step} x {stored}>, ptr %from, align {align}
  {widen}
  store <{step} x {given}> {value}, ptr %to, {store}
  %j.next = add i64 %j, {step}
  %more = icmp ult i64 %j.next, %width
  br i1 %more, label %line, label %row.end
row.end:
  %i.next = add i64 %i, 1
  %again = icmp ult i64 %i.next, %count
  br i1 %again, label %row, label %done
done:
  fence seq_cst
  ret void
}}

!0 = !{{ i32 1 }}
"""
_PREFETCH = f"""%ahead = getelementptr i8, ptr %from, i64 {_AHEAD_BYTES}
  call void @llvm.prefetch.p0(ptr %ahead, i32 0, i32 0, i32 1)"""


@functools.cache
def copying() -> Gather:
    """Return the kernel that copies bytes past the cache.

    The output begins at a line of the cache, and rows are whole lines.
    """
    return _compiled(
        stored="i8",
        given="i8",
        step=LINE_BYTES,
        align=1,
        prefetch=_PREFETCH,
        widen="",
        value="%read",
        store=f"align {LINE_BYTES}, !nontemporal !0",
    )


@functools.cache
def widening(past_cache: bool) -> Gather:
    """Return the kernel that turns float16 into float32; rows are whole lines of float16.

    Args:
        past_cache: Whether stores go past the cache; the output then begins at a line of it.
    """
    return _compiled(
        stored="half",
        given="float",
        step=LINE_BYTES // 2,
        align=2,
        prefetch=_PREFETCH if past_cache else "",
        widen=f"%wide = fpext <{LINE_BYTES // 2} x half> %read to <{LINE_BYTES // 2} x float>",
        value="%wide",
        store=f"align {LINE_BYTES}, !nontemporal !0" if past_cache else "align 4",
    )


@functools.cache
def can_widen() -> bool:
    """Return whether this processor converts half precision itself."""
    return bool(llvm.get_host_cpu_features().get("f16c"))


def _compiled(**parts: Any) -> Gather:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_PROGRAM.format(**parts))
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, number, number)
    gather = function(engine.get_function_address("gather"))
    # The engine owns the code.
    gather.engine = engine  # type: ignore[attr-defined]
    return gather
