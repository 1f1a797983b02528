"""The kernel of `gather_rows` in LLVM's language: lines of the cache, copied or widened.

Two forms of stores: through the cache, or past it (non-temporal), which neither reads a line before
it is overwritten nor drives others out. Past the cache, a processor does not fetch ahead by itself
across the pages of a file; the kernel asks for lines two kibibytes before they are read, at the end
of a row for those of the next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm

LINE_BYTES = 64
_AHEAD_BYTES = 2048

Gather = Callable[[int, int, int, int, int], None]
"""Address of the output, of the table, of the int64 row numbers; how many; numbers per row."""


class Kernels(NamedTuple):
    """What was compiled. Rows are whole lines of the cache as stored.

    Attributes:
        copy: Bytes, past the cache; the output begins at a line of it.
        widen: float16 to float32; None where the processor does not convert them itself.
        widen_past: Likewise past the cache; the output begins at a line of it.
    """

    copy: Gather
    widen: Gather | None
    widen_past: Gather | None


_PROGRAM = """
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare void @llvm.x86.sse.sfence()

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
  %i.next = add i64 %i, 1
  %again = icmp ult i64 %i.next, %count
  %upcoming = select i1 %again, i64 %i.next, i64 %i
  %place.next = getelementptr i64, ptr %where, i64 %upcoming
  %number.next = load i64, ptr %place.next
  %before = sub i64 %number.next, 1
  %first.next = mul i64 %before, %width
  ; Behind the end of this row, the next one begins.
  %next = getelementptr {stored}, ptr %table, i64 %first.next
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
  br i1 %again, label %row, label %done
done:
  call void @llvm.x86.sse.sfence()
  ret void
}}

!0 = !{{ i32 1 }}
"""
_PREFETCH = """%k = add i64 %j, {ahead}
  %over = icmp uge i64 %k, %width
  %base = select i1 %over, ptr %next, ptr %source
  %ahead = getelementptr {stored}, ptr %base, i64 %k
  call void @llvm.prefetch.p0(ptr %ahead, i32 0, i32 0, i32 1)"""
_PAST_CACHE = f"align {LINE_BYTES}, !nontemporal !0"


def build() -> Kernels:
    """Compile for this processor.

    Raises:
        RuntimeError: LLVM does not know the processor or the language of this file (llvmlite
            before 0.45), or the system forbids compiled code.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.check_jit_execution()
    return Kernels(
        _compiled(
            stored="i8",
            given="i8",
            step=LINE_BYTES,
            align=1,
            prefetch=_PREFETCH.format(stored="i8", ahead=_AHEAD_BYTES),
            widen="",
            value="%read",
            store=_PAST_CACHE,
        ),
        _widening("", "align 4"),
        _widening(_PREFETCH.format(stored="half", ahead=_AHEAD_BYTES // 2), _PAST_CACHE),
    )


def _widening(prefetch: str, store: str) -> Gather | None:
    # Without this, LLVM calls a function for each number, which is not there.
    if not llvm.get_host_cpu_features().get("f16c"):
        return None
    step = LINE_BYTES // 2
    return _compiled(
        stored="half",
        given="float",
        step=step,
        align=2,
        prefetch=prefetch,
        widen=f"%wide = fpext <{step} x half> %read to <{step} x float>",
        value="%wide",
        store=store,
    )


def _compiled(**parts: Any) -> Gather:
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
