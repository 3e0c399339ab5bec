package dev.magpie

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File

/** Unusable files and photos cause different exceptions, by what the app can do about them. */
class FaultTest {
    @TempDir
    lateinit var folder: File

    private val shard get() = Demo.catalog.readBytes()

    private fun file(name: String, bytes: ByteArray): File = folder.resolve(name).apply { writeBytes(bytes) }

    private inline fun <reified E : MagpieException> opening(catalog: File, pack: File = Demo.pack) {
        val error = assertThrows<E> { runBlocking { SearchEngine.open(pack, catalog).close() } }
        assertTrue(!error.message.isNullOrBlank(), "no message")
    }

    @Test
    fun `a missing file`() {
        opening<MagpieException.File>(folder.resolve("none.magpie"))
        opening<MagpieException.File>(Demo.catalog, folder.resolve("no pack"))
        assertThrows<MagpieException.File> { runBlocking { Magpie.verifyCatalog(folder.resolve("none.magpie")) } }
    }

    @Test
    fun `a damaged shard`() = suspending {
        opening<MagpieException.Catalog>(file("empty.magpie", ByteArray(0)))
        opening<MagpieException.Catalog>(file("photo.magpie", Demo.photo("mug-01.jpg")))
        opening<MagpieException.Catalog>(file("short.magpie", shard.copyOf(shard.size / 2)))
        opening<MagpieException.Catalog>(file("head.magpie", shard.also { it[9] = 99 }))
        // Damage in the middle is found only by the check that follows a download.
        Magpie.verifyCatalog(Demo.catalog)
        val damaged =
            file("damaged.magpie", shard.also { it[it.size / 2] = (it[it.size / 2].toInt() xor 1).toByte() })
        assertThrows<MagpieException.Catalog> { Magpie.verifyCatalog(damaged) }
    }

    @Test
    fun `an invalid model`() {
        val pack = folder.resolve("pack").apply { mkdir() }
        val manifest = Demo.pack.resolve("manifest.json").readText()
        val network = Demo.pack.resolve("model.onnx").readBytes()
        val write = { name: String, bytes: ByteArray -> pack.resolve(name).writeBytes(bytes) }
        write("manifest.json", manifest.toByteArray())
        opening<MagpieException.File>(Demo.catalog, pack)
        write("model.onnx", network.also { it[it.size / 2]++ })
        opening<MagpieException.Model>(Demo.catalog, pack)
        write("manifest.json", "{}".toByteArray())
        opening<MagpieException.Model>(Demo.catalog, pack)
    }

    @Test
    fun `a catalogue that was built with another model`() =
        opening<MagpieException.Model>(Demo.root.resolve("tests/compat/v2.magpie"))

    @Test
    fun `bytes that are not a photo`() = withEngine { engine ->
        val photo = Demo.photo("mug-01.jpg")
        val noPhotos = listOf(ByteArray(0), "a text".toByteArray(), shard, photo.copyOf(200), ByteArray(100_000))
        for (bytes in noPhotos) {
            assertThrows<MagpieException.Photo> { engine.search(bytes) }
            assertThrows<MagpieException.Photo> { engine.embed(bytes) }
            assertThrows<MagpieException.Photo> { engine.benchmark(bytes, runs = 1) }
        }
        // The engine still works.
        assertTrue(engine.search(photo).listings.isNotEmpty())
    }

    @Test
    fun `a catalogue in memory, and a network on two threads`() = suspending {
        val copy = file("copy.magpie", shard)
        SearchEngine.open(Demo.pack, copy, threads = 2, inMemory = true).use { engine ->
            // If the file were mapped, this would crash the process.
            copy.writeBytes(ByteArray(0))
            assertTrue(engine.search(Demo.photo("mug-01.jpg")).listings.isNotEmpty())
        }
        assertThrows<IllegalArgumentException> { SearchEngine.open(Demo.pack, Demo.catalog, threads = 0) }
    }
}
