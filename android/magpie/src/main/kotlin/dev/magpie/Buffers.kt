package dev.magpie

import java.lang.ref.SoftReference
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicReference

/**
 * Calls Rust with the bytes from position to limit. A direct buffer is passed as it is, any other is copied first, on
 * the thread that calls Rust, to keep the copy off the app's main thread.
 */
internal inline fun <T> ByteBuffer.borrowed(call: (ByteBuffer) -> T): T {
    // The generated code passes the address of byte 0 whatever the position, so pass a slice that starts there.
    val bytes = if (isDirect) slice() else ByteBuffer.allocateDirect(remaining()).append(this)
    return kept(bytes) { call(bytes) }
}

/** Calls Rust with the planes of a frame. Copies go to memory that is reused from frame to frame. */
internal inline fun <T> List<ByteBuffer>.borrowed(call: (List<ByteBuffer>) -> T): T {
    val memory = Spare.take(sumOf { if (it.isDirect) 0 else it.remaining() })
    return try {
        val planes = map { if (it.isDirect) it.slice() else memory.append(it) }
        kept(planes) { call(planes) }
    } finally {
        Spare.give(memory)
    }
}

/** Copies [bytes] to this buffer's position, advances the position, and returns the copy as a slice. */
internal fun ByteBuffer.append(bytes: ByteBuffer): ByteBuffer {
    val copy = slice().also { it.limit(bytes.remaining()) }
    put(bytes.duplicate())
    return copy
}

/**
 * Keeps [what] reachable until the call returns. Rust only holds an address, so without this reference the garbage
 * collector could free the memory during the call.
 */
internal inline fun <T> kept(what: Any, call: () -> T): T = try {
    call()
} finally {
    Kept.last = what
    Kept.last = null
}

/** Writes to this volatile field count as uses of the reference. `reachabilityFence` needs Android 9. */
internal object Kept {
    @Volatile
    @JvmField
    var last: Any? = null
}

/** The memory of the last frame's copy, kept for reuse: allocating it takes longer than copying. */
internal object Spare {
    val NONE: ByteBuffer = ByteBuffer.allocateDirect(0)
    private val memory = AtomicReference<SoftReference<ByteBuffer>>()

    fun take(size: Int): ByteBuffer {
        if (size == 0) return NONE
        val last = memory.getAndSet(null)?.get()?.takeIf { it.capacity() >= size }
        return last?.also { it.clear() } ?: ByteBuffer.allocateDirect(size)
    }

    fun give(buffer: ByteBuffer) {
        if (buffer !== NONE) memory.set(SoftReference(buffer))
    }
}
