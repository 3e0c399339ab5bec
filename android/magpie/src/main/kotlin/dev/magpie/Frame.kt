package dev.magpie

import dev.magpie.internal.ColorRange
import dev.magpie.internal.FrameLayout
import dev.magpie.internal.PixelFormat
import java.nio.ByteBuffer

/**
 * A camera frame: the pixels as stored by the sensor, and the rotation that makes them upright.
 *
 * ```kotlin
 * val frame = Frame(Pixels.nv21(bytes, 1920, 1080), 1920, 1080, rotation = 90)
 * val results = engine.search(frame)
 * ```
 *
 * The pixels are borrowed: do not modify them until the call that uses the frame returns. Direct buffers are read in
 * place; others are copied.
 *
 * @property pixels the pixels
 * @property width width as stored, in pixels
 * @property height height as stored, in pixels
 * @property rotation the clockwise rotation that makes the frame upright: 0, 90, 180 or 270 degrees
 * @property mirrored whether the upright frame is then mirrored left to right, as a front camera's preview is
 */
public class Frame(
    public val pixels: Pixels,
    public val width: Int,
    public val height: Int,
    public val rotation: Int = 0,
    public val mirrored: Boolean = false,
) {
    init {
        require(width >= 1 && height >= 1) { "invalid frame size: $width x $height" }
        require(rotation in setOf(0, 90, 180, 270)) { "the rotation must be 0, 90, 180 or 270 degrees, not $rotation" }
    }

    /** Width of the upright frame in pixels, as a [Crop] measures it. */
    public val uprightWidth: Int get() = if (rotation % 180 == 0) width else height

    /** Height of the upright frame in pixels, as a [Crop] measures it. */
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
        // Duplicates fix the current positions and limits; the caller may go on using its buffers.
        return RustFrame(pixels.planes.map { it.duplicate() }, layout)
    }
}

/** A frame in the form that Rust takes. */
internal class RustFrame(private val planes: List<ByteBuffer>, private val layout: FrameLayout) {
    inline fun <T> borrowed(call: (ByteBuffer, ByteBuffer, ByteBuffer, FrameLayout) -> T): T =
        planes.borrowed { call(it[0], it.getOrElse(1) { Spare.NONE }, it.getOrElse(2) { Spare.NONE }, layout) }
}

/**
 * The pixels of a frame, in one to three planes. A plane is the bytes of a buffer from its position to its limit. It
 * starts at the first sample and may extend beyond the last.
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
            "invalid strides: $rowStride, $chromaRowStride, $chromaPixelStride"
        }
    }

    public companion object {
        /** Red, green, blue and an ignored byte per pixel; rows are [rowStride] bytes apart. */
        public fun rgba(bytes: ByteBuffer, rowStride: Int): Pixels =
            Pixels(PixelFormat.RGBA, listOf(bytes), rowStride, 0, 1, YuvRange.BT601_FULL)

        /** Blue, green, red and an ignored byte per pixel; rows are [rowStride] bytes apart. */
        public fun bgra(bytes: ByteBuffer, rowStride: Int): Pixels =
            Pixels(PixelFormat.BGRA, listOf(bytes), rowStride, 0, 1, YuvRange.BT601_FULL)

        /**
         * 8-bit 4:2:0: one chroma sample per 2 x 2 pixels. The chroma planes may overlap, as they do on Android: a
         * pixel stride of 2 means that they are interleaved.
         *
         * @param y luma, one byte per pixel without gaps
         * @param u blue difference, Cb
         * @param v red difference, Cr
         * @param rowStride bytes between the starts of two luma rows
         * @param chromaRowStride bytes between the starts of two chroma rows
         * @param chromaPixelStride bytes between two chroma samples of a row
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

        /** Luma, then interleaved V and U, in one buffer; the rows of both are [rowStride] bytes apart. */
        public fun nv21(
            bytes: ByteBuffer,
            width: Int,
            height: Int,
            rowStride: Int = width,
            range: YuvRange = YuvRange.BT601_FULL,
        ): Pixels = biplanar(PixelFormat.NV21, bytes, width, height, rowStride, range)

        /** Luma, then interleaved U and V, in one buffer; the rows of both are [rowStride] bytes apart. */
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
                "$height rows of $rowStride bytes do not fit in ${bytes.remaining()} bytes"
            }
            // With an odd width, a row of chroma pairs is one byte longer than a row of luma.
            val chromaRowStride = maxOf(rowStride, (width + 1) / 2 * 2)
            val planes = listOf(bytes.part(0, luma.toInt()), bytes.part(luma.toInt(), bytes.remaining()))
            return Pixels(format, planes, rowStride, chromaRowStride, 2, range)
        }

        /** A slice of this buffer's memory, with offsets relative to its position. */
        private fun ByteBuffer.part(from: Int, to: Int): ByteBuffer {
            val start = position()
            val part = duplicate()
            part.limit(start + to)
            part.position(start + from)
            return part.slice()
        }
    }
}

/** Colour matrix and range of YUV pixels. */
public enum class YuvRange {
    /** BT.601, 0 to 255: the format of Android's cameras. */
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
