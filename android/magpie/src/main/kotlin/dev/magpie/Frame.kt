package dev.magpie

import dev.magpie.internal.ColorRange
import dev.magpie.internal.FrameLayout
import dev.magpie.internal.PixelFormat
import java.nio.ByteBuffer

/**
 * A camera frame: pixels as the sensor stores them, and the turn that makes them upright.
 *
 * ```kotlin
 * val frame = Frame(Pixels.nv21(bytes, 1920, 1080), 1920, 1080, rotation = 90)
 * val results = engine.search(frame)
 * ```
 *
 * The pixels are borrowed: whoever made the frame leaves them as they are until the call that was given it is back.
 * Direct buffers are read where they are; others are copied.
 *
 * @property pixels the pixels
 * @property width in pixels, as stored
 * @property height in pixels, as stored
 * @property rotation the clockwise turn that makes it upright: 0, 90, 180 or 270 degrees
 * @property mirrored whether it is then mirrored left to right, as a front camera's picture is shown
 */
public class Frame(
    public val pixels: Pixels,
    public val width: Int,
    public val height: Int,
    public val rotation: Int = 0,
    public val mirrored: Boolean = false,
) {
    init {
        require(width >= 1 && height >= 1) { "no such frame: $width x $height" }
        require(rotation in setOf(0, 90, 180, 270)) { "a frame is turned by 0, 90, 180 or 270 degrees, not $rotation" }
    }

    /** Width of the upright frame: what a [Crop] is measured in. */
    public val uprightWidth: Int get() = if (rotation % 180 == 0) width else height

    /** Height of the upright frame: what a [Crop] is measured in. */
    public val uprightHeight: Int get() = if (rotation % 180 == 0) height else width

    internal fun rust(): RustFrame {
        val layout = FrameLayout(
            format = pixels.format,
            width = width.toUInt(),
            height = height.toUInt(),
            rowStride = pixels.rowStride.toUInt(),
            chromaRowStride = pixels.chromaRowStride.toUInt(),
            chromaPixelStride = pixels.chromaPixelStride.toUInt(),
            rotationDegrees = rotation.toUInt(),
            mirrored = mirrored,
            color = pixels.range.rust(),
        )
        // Their positions and limits as they are now; the caller may go on using its buffers.
        return RustFrame(pixels.planes.map { it.duplicate() }, layout)
    }
}

/** A frame as Rust takes it. */
internal class RustFrame(private val planes: List<ByteBuffer>, private val layout: FrameLayout) {
    inline fun <T> borrowed(call: (ByteBuffer, ByteBuffer, ByteBuffer, FrameLayout) -> T): T =
        planes.borrowed { call(it[0], it.getOrElse(1) { Spare.NONE }, it.getOrElse(2) { Spare.NONE }, layout) }
}

/**
 * A frame's pixels, in one to three planes. A plane is the bytes of a buffer from its position to its limit, from the
 * first sample to the last or beyond.
 */
public class Pixels private constructor(
    internal val format: PixelFormat,
    internal val planes: List<ByteBuffer>,
    internal val rowStride: Int,
    internal val chromaRowStride: Int,
    internal val chromaPixelStride: Int,
    internal val range: YuvRange,
) {
    init {
        require(rowStride >= 0 && chromaRowStride >= 0 && chromaPixelStride >= 1) {
            "no such strides: $rowStride, $chromaRowStride, $chromaPixelStride"
        }
    }

    public companion object {
        /** Red, green, blue and a byte that is ignored; [rowStride] bytes from one row to the next. */
        public fun rgba(bytes: ByteBuffer, rowStride: Int): Pixels =
            Pixels(PixelFormat.RGBA, listOf(bytes), rowStride, 0, 1, YuvRange.BT601_FULL)

        /** Blue, green, red and a byte that is ignored; [rowStride] bytes from one row to the next. */
        public fun bgra(bytes: ByteBuffer, rowStride: Int): Pixels =
            Pixels(PixelFormat.BGRA, listOf(bytes), rowStride, 0, 1, YuvRange.BT601_FULL)

        /**
         * 8-bit 4:2:0: a chroma sample for each square of four pixels. The chroma planes may overlap, as Android's do:
         * a pixel stride of 2 says that they are interleaved.
         *
         * @param y luma, its samples side by side
         * @param u blue difference, Cb
         * @param v red difference, Cr
         * @param rowStride bytes from one row of luma to the next
         * @param chromaRowStride bytes from one row of chroma to the next
         * @param chromaPixelStride bytes from one sample of chroma to the next
         */
        public fun yuv420(
            y: ByteBuffer,
            u: ByteBuffer,
            v: ByteBuffer,
            rowStride: Int,
            chromaRowStride: Int,
            chromaPixelStride: Int,
            range: YuvRange = YuvRange.BT601_FULL,
        ): Pixels = Pixels(PixelFormat.YUV420, listOf(y, u, v), rowStride, chromaRowStride, chromaPixelStride, range)

        /** Luma, then V and U interleaved, in one buffer; rows of both are [rowStride] bytes apart. */
        public fun nv21(
            bytes: ByteBuffer,
            width: Int,
            height: Int,
            rowStride: Int = width,
            range: YuvRange = YuvRange.BT601_FULL,
        ): Pixels = biplanar(PixelFormat.NV21, bytes, width, height, rowStride, range)

        /** Luma, then U and V interleaved, in one buffer; rows of both are [rowStride] bytes apart. */
        public fun nv12(
            bytes: ByteBuffer,
            width: Int,
            height: Int,
            rowStride: Int = width,
            range: YuvRange = YuvRange.BT601_FULL,
        ): Pixels = biplanar(PixelFormat.NV12, bytes, width, height, rowStride, range)

        private fun biplanar(
            format: PixelFormat,
            bytes: ByteBuffer,
            width: Int,
            height: Int,
            rowStride: Int,
            range: YuvRange,
        ): Pixels {
            val luma = rowStride.toLong() * height
            require(rowStride >= 0 && height >= 0 && luma <= bytes.remaining()) {
                "$height rows of $rowStride bytes in ${bytes.remaining()}"
            }
            // A row of an odd width holds a chroma pair more than it has bytes.
            val chromaRowStride = maxOf(rowStride, (width + 1) / 2 * 2)
            val planes = listOf(bytes.part(0, luma.toInt()), bytes.part(luma.toInt(), bytes.remaining()))
            return Pixels(format, planes, rowStride, chromaRowStride, 2, range)
        }

        /** Bytes counted from the buffer's position, as a buffer of their own over the same memory. */
        private fun ByteBuffer.part(from: Int, to: Int): ByteBuffer {
            val start = position()
            val part = duplicate()
            part.limit(start + to)
            part.position(start + from)
            return part.slice()
        }
    }
}

/** Matrix and range of YUV pixels. */
public enum class YuvRange {
    /** BT.601, 0 to 255: what Android's camera gives. */
    BT601_FULL,

    /** BT.601, luma 16 to 235, chroma 16 to 240. */
    BT601_VIDEO,

    /** BT.709, 0 to 255. */
    BT709_FULL,

    /** BT.709, luma 16 to 235, chroma 16 to 240. */
    BT709_VIDEO,

    ;

    internal fun rust(): ColorRange = when (this) {
        BT601_FULL -> ColorRange.BT601_FULL
        BT601_VIDEO -> ColorRange.BT601_VIDEO
        BT709_FULL -> ColorRange.BT709_FULL
        BT709_VIDEO -> ColorRange.BT709_VIDEO
    }
}
