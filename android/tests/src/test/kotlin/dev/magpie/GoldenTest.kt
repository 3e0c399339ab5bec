package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Kotlin computes the same embeddings as Rust and as the training code. */
class GoldenTest {
    /** The core's bound for the whole pipeline, decoding and resizing included. */
    private val wholeCosine = 0.995

    @Test
    fun `embeddings equal those of the CLI bit for bit`() = withEngine { engine ->
        val photos = Demo.data.resolve("golden.txt").readLines().filter { it.isNotBlank() }
        val rows = npy(Demo.data.resolve("golden.npy"), photos.size)
        assertTrue(photos.size >= 9, "$photos")
        for ((photo, expected) in photos zip rows) {
            val found = engine.embed(File(photo).readBytes())
            assertEquals(expected.map { it.toRawBits() }, found.values.map { it.toRawBits() }, photo)
            assertEquals(engine.info.modelId, found.modelId)
        }
    }

    @Test
    fun `embeddings match the pack's golden cases, crops included`() = withEngine { engine ->
        val cases = checkNotNull(Demo.pack.resolve("golden").listFiles { file -> file.isDirectory })
        var crops = 0
        for (case in cases) {
            val photo = case.resolve("photo.jpg").takeIf { it.exists() } ?: case.resolve("photo.png")
            val expected = case.resolve("expected.json").readText()
            val crop = numbers(expected, "crop")?.map { it.toInt() }?.let { Crop(it[0], it[1], it[2], it[3]) }
            if (crop != null) crops++
            val found = engine.embed(photo.readBytes(), crop).values
            val cosine = checkNotNull(numbers(expected, "embedding")).zip(found.toList()) { a, b -> a * b }.sum()
            assertTrue(cosine >= wholeCosine, "${case.name}: $cosine")
        }
        assertTrue(crops > 0, "no case with a crop")
    }

    /** Returns the numbers of a list in a JSON object, or null if there is no such list. */
    private fun numbers(json: String, name: String): List<Double>? =
        Regex("\"$name\":\\s*\\[([^]]*)]").find(json)?.let { match ->
            match.groupValues[1].split(",").map { it.trim().toDouble() }
        }

    /** Reads the rows of a NumPy file of float32 values: a header whose length is at byte 8, then the values. */
    private fun npy(file: File, rows: Int): List<FloatArray> {
        val bytes = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN)
        bytes.position(10 + bytes.getShort(8))
        val values = FloatArray(bytes.remaining() / Float.SIZE_BYTES).also { bytes.asFloatBuffer().get(it) }
        assertEquals(0, values.size % rows)
        return values.toList().chunked(values.size / rows) { it.toFloatArray() }
    }
}
