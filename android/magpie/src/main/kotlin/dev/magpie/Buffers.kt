package dev.magpie

import java.nio.ByteBuffer

/** The bytes from position to limit where Rust can read them: as they are if the buffer is direct, else copied. */
internal fun ByteBuffer.native(): ByteBuffer =
    // The generated code takes the address of a buffer's first byte, whatever its position: a slice starts at it.
    if (isDirect) slice() else ByteBuffer.allocateDirect(remaining()).put(duplicate()).rewind() as ByteBuffer

/** The same for an array, which is copied. */
internal fun ByteArray.native(): ByteBuffer = ByteBuffer.wrap(this).native()

/**
 * Calls Rust with the address of a direct buffer, and keeps the buffer until it is back. Nothing else does: the address
 * is a mere number, so the garbage collector could free the memory under the call.
 */
internal inline fun <T> ByteBuffer.borrowed(call: (ByteBuffer) -> T): T = try {
    call(this)
} finally {
    Kept.last = this
    Kept.last = null
}

/** Where references are written, so that they count as used till then. `reachabilityFence` needs Android 9. */
internal object Kept {
    @Volatile
    @JvmField
    var last: Any? = null
}
