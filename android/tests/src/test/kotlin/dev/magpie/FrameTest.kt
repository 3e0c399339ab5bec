package dev.magpie

import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.nio.ByteBuffer

/** A camera frame finds the same as a photo of the same scene, whatever its format and rotation. */
class FrameTest {
    private val mug = Picture.of("mug-01.jpg")

    /** Rotating before or after resizing rounds differently, and int8 steps are coarse. A wrong rotation gives 0.6. */
    private val sameCosine = 0.99

    private suspend fun SearchEngine.bits(frame: Frame, crop: Crop? = null) =
        embed(frame, crop).values.map { it.toRawBits() }

    private fun cosine(a: Embedding, b: Embedding) = a.values.zip(b.values) { x, y -> x * y }.sum()

    private fun Picture.rgbaFrame(rotation: Int = 0, mirrored: Boolean = false) =
        Frame(rgba(), width, height, rotation, mirrored)

    @Test
    fun `a frame finds what a photo finds`() = withEngine { engine ->
        val photo = Demo.photo("mug-01.jpg")
        for (frame in listOf(mug.rgbaFrame(), mug.frame())) {
            val results = engine.search(frame)
            assertEquals("mug-01", results.listings.first().id)
            assertEquals(0.0, results.times.decode.inWholeNanoseconds.toDouble())
            // The JPEG decoders differ, and chroma has half the resolution.
            val cosine = cosine(engine.embed(photo), engine.embed(frame))
            assertTrue(cosine > 0.97, "$cosine")
        }
        val mugs = SearchOptions(limit = 3, filter = column("category") equalTo "Mugs")
        assertTrue(
            engine.search(mug.frame(), mugs).listings.let { found ->
                found.size == 3 &&
                    found.all { it["category"] == "Mugs" }
            },
        )
    }

    @Test
    fun `all formats of the same pixels give the same embedding`() = withEngine { engine ->
        val rgba = engine.bits(mug.rgbaFrame())
        for (padding in listOf(0, 5)) {
            assertEquals(rgba, engine.bits(Frame(mug.rgba(padding), mug.width, mug.height)))
            assertEquals(rgba, engine.bits(Frame(mug.bgra(padding), mug.width, mug.height)))
        }
        val yuv = engine.bits(mug.frame())
        val (width, height) = mug.width to mug.height
        for (stride in listOf(width, width + 32)) {
            val nv21 = mug.biplanar(stride)
            assertEquals(yuv, engine.bits(Frame(Pixels.nv21(nv21, width, height, stride), width, height)))
            val nv12 = Pixels.nv12(mug.biplanar(stride, vFirst = false), width, height, stride)
            assertEquals(yuv, engine.bits(Frame(nv12, width, height)))
            // As Android's camera delivers them: overlapping planes that end at their last sample.
            val luma = nv21.duplicate().limit(stride * height - (stride - width))
            val v = nv21.duplicate().position(stride * height).limit(nv21.limit() - (stride - width) - 1)
            val u = nv21.duplicate().position(stride * height + 1).limit(nv21.limit() - (stride - width))
            val planes = Pixels.yuv420(luma, u, v, stride, stride, 2)
            assertEquals(yuv, engine.bits(Frame(planes, width, height)))
        }
        val (y, u, v) = mug.planes()
        assertEquals(yuv, engine.bits(Frame(Pixels.yuv420(y, u, v, width, width / 2, 1), width, height)))
    }

    @Test
    fun `heap buffers and buffers with a position give the same`() = withEngine { engine ->
        val direct = mug.biplanar()
        val expected = engine.bits(Frame(Pixels.nv21(direct, mug.width, mug.height), mug.width, mug.height))
        val bytes = ByteArray(direct.remaining()).also { direct.duplicate().get(it) }
        val heap = Pixels.nv21(ByteBuffer.wrap(bytes), mug.width, mug.height)
        assertEquals(expected, engine.bits(Frame(heap, mug.width, mug.height)))
        val padded = ByteBuffer.allocateDirect(bytes.size + 3).position(3).put(bytes).position(3)
        assertEquals(expected, engine.bits(Frame(Pixels.nv21(padded, mug.width, mug.height), mug.width, mug.height)))
        assertEquals(3, padded.position())
    }

    @Test
    fun `copies of concurrently searched frames do not interfere`() = withEngine { engine ->
        val pictures = listOf(mug, mug.part(20, 30, 160, 120), mug.mirrored(), mug.part(0, 0, 90, 200))
        fun Picture.nv21(buffer: ByteBuffer) = Frame(Pixels.nv21(buffer, width, height), width, height)
        val expected = pictures.map { engine.bits(it.nv21(it.biplanar())) }
        val heap = pictures.map { picture ->
            val bytes = picture.biplanar()
            picture.nv21(ByteBuffer.allocate(bytes.remaining()).put(bytes).rewind() as ByteBuffer)
        }
        coroutineScope {
            repeat(40) { at -> launch { assertEquals(expected[at % 4], engine.bits(heap[at % 4]), "$at") } }
        }
    }

    @Test
    fun `a frame is rotated upright, then mirrored`() = withEngine { engine ->
        val wide = mug.part(10, 40, 201, 150)
        for (picture in listOf(wide, wide.mirrored())) {
            val upright = engine.embed(picture.rgbaFrame())
            for (rotation in listOf(0, 90, 180, 270)) {
                val frame = picture.stored(rotation).rgbaFrame(rotation)
                assertEquals(201 to 150, frame.uprightWidth to frame.uprightHeight)
                val cosine = cosine(upright, engine.embed(frame))
                assertTrue(cosine > sameCosine, "$rotation: $cosine")
                val mirrored = picture.mirrored().stored(rotation).rgbaFrame(rotation, mirrored = true)
                assertTrue(cosine(upright, engine.embed(mirrored)) > sameCosine, "$rotation, mirrored")
            }
        }
        // A wrong rotation changes the embedding.
        val turned = engine.embed(wide.rgbaFrame(rotation = 90))
        assertTrue(cosine(engine.embed(wide.rgbaFrame()), turned) < 0.9)
    }

    @Test
    fun `a crop refers to the upright frame`() = withEngine { engine ->
        val part = engine.embed(mug.part(40, 60, 150, 120).rgbaFrame())
        val crop = Crop(40, 60, 150, 120)
        for (rotation in listOf(0, 90, 180, 270)) {
            val cosine = cosine(part, engine.embed(mug.stored(rotation).rgbaFrame(rotation), crop))
            assertTrue(cosine > sameCosine, "$rotation: $cosine")
        }
        val tall = mug.part(0, 0, 100, 200).stored(90).rgbaFrame(90)
        engine.search(tall, SearchOptions(crop = Crop(0, 150, 100, 50)))
        assertThrows<MagpieException.Photo> { engine.search(tall, SearchOptions(crop = Crop(0, 150, 100, 51))) }
    }

    @Test
    fun `frames that do not fit their planes are rejected`() = withEngine { engine ->
        val (width, height) = mug.width to mug.height
        val bytes = mug.biplanar()
        val short = bytes.duplicate().limit(bytes.limit() - 1)
        val frames = listOf(
            Frame(Pixels.nv21(short, width, height), width, height),
            Frame(Pixels.nv21(bytes, width, height), width, height + 2),
            Frame(mug.rgba(), width + 1, height),
            Frame(Pixels.rgba(ByteBuffer.allocate(0), 4), 1, 1),
            Frame(Pixels.yuv420(bytes, bytes, bytes, 0, 0, 1), width, height),
            Frame(mug.rgba(), Int.MAX_VALUE, Int.MAX_VALUE),
        )
        for (frame in frames) assertThrows<MagpieException.Photo> { engine.search(frame) }
        assertThrows<IllegalArgumentException> { Frame(mug.rgba(), 0, 1) }
        assertThrows<IllegalArgumentException> { Frame(mug.rgba(), width, height, rotation = 45) }
        assertThrows<IllegalArgumentException> { Pixels.rgba(bytes, -1) }
        assertThrows<IllegalArgumentException> { Pixels.nv21(bytes, width, 10_000) }
        assertThrows<IllegalArgumentException> { Pixels.nv21(bytes, width, Int.MAX_VALUE, Int.MAX_VALUE) }
    }
}
