"""Ask for memory before it is needed: at ten thousand series nearly every reading's state lies outside of the caches.

Changes no result; where a processor has no such instruction it does nothing.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 64
"""Bytes that a cache takes at a time."""

_FOR_WRITING, _KEEP, _DATA = 1, 3, 1


@intrinsic
def prefetch(typingctx: Any, table: Any, row: Any, first: Any, lines: Any) -> Any:  # noqa: ARG001 - numba's protocol
    """In a compiled loop: ask for `lines` cache lines of a row of a table of records, from the line `first` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        flag = ir.IntType(32)
        stride = cgutils.unpack_tuple(builder, array.strides, 1)[0]
        row_start = builder.add(builder.ptrtoint(array.data, word), builder.mul(arguments[1], stride))
        start = builder.add(row_start, builder.mul(arguments[2], word(LINE)))
        byte = ir.IntType(8).as_pointer()
        instruction = builder.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        )
        flags = [flag(_FOR_WRITING), flag(_KEEP), flag(_DATA)]
        with cgutils.for_range(builder, arguments[3]) as loop:
            place = builder.add(start, builder.mul(loop.index, word(LINE)))
            builder.call(instruction, [builder.inttoptr(place, byte), *flags])
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, types.int64), generate
