package dev.magpie

import java.lang.ref.SoftReference
import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicReference

/**
 * Calls Rust with the bytes from position to limit, where it can read them: as they are if the buffer is direct, else
 * copied. The copy is made on the thread that calls Rust; an app's main thread has no time for it.
 */
internal inline fun <T> ByteBuffer.borrowed(call: (ByteBuffer) -> T): T {
    // The generated code takes the address of a buffer's first byte, whatever its position: a slice starts at it.
    val bytes = if (isDirect) slice() else ByteBuffer.allocateDirect(remaining()).append(this)
    return kept(bytes) { call(bytes) }
}

/** The same for the planes of a frame. Their copies are made in memory that serves frame after frame. */
internal inline fun <T> List<ByteBuffer>.borrowed(call: (List<ByteBuffer>) -> T): T {
    val memory = Spare.take(sumOf { if (it.isDirect) 0 else it.remaining() })
    return try {
        val planes = map { if (it.isDirect) it.slice() else memory.append(it) }
        kept(planes) { call(planes) }
    } finally {
        Spare.give(memory)
    }
}

/** Puts a copy of [bytes] at this buffer's position, which moves behind it; what is returned is the copy. */
internal fun ByteBuffer.append(bytes: ByteBuffer): ByteBuffer {
    val copy = slice().also { it.limit(bytes.remaining()) }
    put(bytes.duplicate())
    return copy
}

/**
 * Keeps what Rust reads until the call is back. Nothing else does: an address is a mere number, so the garbage
 * collector could free the memory under the call.
 */
internal inline fun <T> kept(what: Any, call: () -> T): T = try {
    call()
} finally {
    Kept.last = what
    Kept.last = null
}

/** Where references are written, so that they count as used till then. `reachabilityFence` needs Android 9. */
internal object Kept {
    @Volatile
    @JvmField
    var last: Any? = null
}

/** The memory of the last frame's copy, until something else needs it: to make it takes longer than the copy. */
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
