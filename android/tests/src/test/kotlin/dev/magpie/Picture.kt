package dev.magpie

import java.awt.image.BufferedImage
import java.nio.ByteBuffer
import javax.imageio.ImageIO

/** A picture in plain RGB, and the camera frames made from it. */
internal class Picture(val width: Int, val height: Int, private val rgb: (x: Int, y: Int) -> Int) {
    private fun red(x: Int, y: Int) = rgb(x, y) shr 16 and 255

    private fun green(x: Int, y: Int) = rgb(x, y) shr 8 and 255

    private fun blue(x: Int, y: Int) = rgb(x, y) and 255

    /** The picture as the sensor of a rotated phone stores it: this clockwise rotation makes it upright again. */
    fun stored(rotation: Int): Picture = when (rotation) {
        90 -> Picture(height, width) { x, y -> rgb(width - 1 - y, x) }
        180 -> Picture(width, height) { x, y -> rgb(width - 1 - x, height - 1 - y) }
        270 -> Picture(height, width) { x, y -> rgb(y, height - 1 - x) }
        else -> this
    }

    fun mirrored() = Picture(width, height) { x, y -> rgb(width - 1 - x, y) }

    fun part(left: Int, top: Int, width: Int, height: Int) = Picture(width, height) { x, y -> rgb(left + x, top + y) }

    /** Resamples with nearest neighbours. */
    fun scaled(width: Int, height: Int) =
        Picture(width, height) { x, y -> rgb(x * this.width / width, y * this.height / height) }

    fun dimmed(share: Double) = Picture(width, height) { x, y ->
        listOf(red(x, y), green(x, y), blue(x, y)).fold(0) { sum, value -> (sum shl 8) + (value * share).toInt() }
    }

    /** Four bytes per pixel, with these first and third bytes; row padding contains noise. */
    private fun packed(stride: Int, first: (Int, Int) -> Int, third: (Int, Int) -> Int): ByteBuffer {
        val bytes = ByteBuffer.allocateDirect(stride * height)
        for (y in 0 until height) {
            for (x in 0 until stride / 4) {
                val inside = x < width
                bytes.put((if (inside) first(x, y) else x * 7).toByte())
                bytes.put((if (inside) green(x, y) else y * 3).toByte())
                bytes.put((if (inside) third(x, y) else x + y).toByte())
                bytes.put((x * y).toByte())
            }
        }
        return bytes.rewind() as ByteBuffer
    }

    fun rgba(padding: Int = 0) = Pixels.rgba(packed(4 * (width + padding), ::red, ::blue), 4 * (width + padding))

    fun bgra(padding: Int = 0) = Pixels.bgra(packed(4 * (width + padding), ::blue, ::red), 4 * (width + padding))

    /** Full-range BT.601: luma of one pixel, chroma of the first pixel of each square. */
    private fun luma(x: Int, y: Int) = byte(0.299 * red(x, y) + 0.587 * green(x, y) + 0.114 * blue(x, y))

    private fun u(x: Int, y: Int) = byte(128 - 0.168736 * red(x, y) - 0.331264 * green(x, y) + 0.5 * blue(x, y))

    private fun v(x: Int, y: Int) = byte(128 + 0.5 * red(x, y) - 0.418688 * green(x, y) - 0.081312 * blue(x, y))

    private fun byte(value: Double) = value.toInt().coerceIn(0, 255).toByte()

    /** NV21, or NV12 with the chroma order swapped, with rows of this stride. */
    fun biplanar(stride: Int = width + width % 2, vFirst: Boolean = true): ByteBuffer {
        val chroma = (height + 1) / 2
        val bytes = ByteBuffer.allocateDirect(stride * (height + chroma))
        for (y in 0 until height) for (x in 0 until width) bytes.put(y * stride + x, luma(x, y))
        for (y in 0 until chroma) {
            for (x in 0 until (width + 1) / 2) {
                val at = stride * (height + y) + 2 * x
                val (u, v) = u(2 * x, 2 * y) to v(2 * x, 2 * y)
                bytes.put(at, if (vFirst) v else u)
                bytes.put(at + 1, if (vFirst) u else v)
            }
        }
        return bytes
    }

    /** Three planes without padding. */
    fun planes(): Triple<ByteBuffer, ByteBuffer, ByteBuffer> {
        val (chromaWidth, chromaHeight) = (width + 1) / 2 to (height + 1) / 2
        val plane = { w: Int, h: Int, value: (Int, Int) -> Byte ->
            ByteBuffer.allocateDirect(w * h).also {
                for (y in 0 until h) for (x in 0 until w) it.put(y * w + x, value(x, y))
            }
        }
        val u = plane(chromaWidth, chromaHeight) { x, y -> u(2 * x, 2 * y) }
        val v = plane(chromaWidth, chromaHeight) { x, y -> v(2 * x, 2 * y) }
        return Triple(plane(width, height, ::luma), u, v)
    }

    /** An NV21 frame of the picture. */
    fun frame(rotation: Int = 0, mirrored: Boolean = false): Frame {
        val stride = width + width % 2
        return Frame(Pixels.nv21(biplanar(stride), width, height, stride), width, height, rotation, mirrored)
    }

    companion object {
        /** Reads a shopper's photo. */
        fun of(name: String): Picture {
            val image: BufferedImage = ImageIO.read(Demo.root.resolve("cli/demo/queries/$name"))
            return Picture(image.width, image.height) { x, y -> image.getRGB(x, y) }
        }
    }
}
