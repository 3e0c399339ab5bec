package dev.magpie

import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.concurrent.atomic.AtomicInteger

/** Installation is atomic, and the installed version keeps working if it fails. */
class InstallationTest {
    @TempDir
    lateinit var root: File

    private val mug = Demo.photo("mug-01.jpg")

    private fun files(
        catalog: () -> InputStream = { Demo.catalog.inputStream() },
        pack: File = Demo.pack,
    ): Map<String, () -> InputStream> = mapOf(
        Installation.CATALOG to catalog,
        "model/manifest.json" to { pack.resolve("manifest.json").inputStream() },
        "model/model.onnx" to { pack.resolve("model.onnx").inputStream() },
    )

    private fun names() = root.list()?.sorted()

    @Test
    fun `an installed version can be searched and is not installed again`() = suspending {
        val opened = AtomicInteger()
        val counted = files(catalog = {
            opened.incrementAndGet()
            Demo.catalog.inputStream()
        })
        val first = Installation.install(root.resolve("new"), "1", counted)
        first.open().use { assertEquals("mug-01", it.search(mug).listings.first().id) }
        val again = List(4) { async { Installation.install(root.resolve("new"), "1", counted) } }.awaitAll()
        assertEquals(1, opened.get())
        assertTrue(again.all { it.catalogFile == first.catalogFile && it.modelFolder == first.modelFolder })
    }

    @Test
    fun `a new version replaces the old one, which an open engine keeps`() = suspending {
        root.resolve("not ours").writeText("stays")
        Installation.install(root, "1", files()).open().use { old ->
            val new = Installation.install(root, "2", files())
            assertEquals(listOf("installed-2", "not ours"), names())
            assertEquals("mug-01", old.search(mug).listings.first().id)
            new.open().use { assertEquals(old.search(mug).listings, it.search(mug).listings) }
        }
    }

    @Test
    fun `a failed installation leaves only the old version`() = suspending {
        Installation.install(root, "1", files())
        val damaged = Demo.catalog.readBytes().also { it[it.size / 2] = (it[it.size / 2].toInt() xor 1).toByte() }
        assertThrows<MagpieException.Catalog> { Installation.install(root, "2", files({ damaged.inputStream() })) }
        val other = Demo.root.resolve("tests/compat/v2.magpie")
        assertThrows<MagpieException.Model> { Installation.install(root, "2", files({ other.inputStream() })) }
        val broken = object : InputStream() {
            override fun read(): Int = throw IOException("the card was pulled out")
        }
        val error = assertThrows<MagpieException.File> { Installation.install(root, "2", files({ broken })) }
        assertTrue("pulled out" in error.message.orEmpty(), error.message)
        assertThrows<MagpieException.File> { Installation.install(root, "2", files() - "model/model.onnx") }
        assertThrows<MagpieException.File> { Installation.install(root, "2", files() - Installation.CATALOG) }
        assertEquals(listOf("installed-1"), names())
    }

    @Test
    fun `the installation of an endless file can be cancelled`() = suspending {
        val endless = object : InputStream() {
            override fun read(): Int = 0

            override fun read(into: ByteArray, from: Int, length: Int): Int {
                Thread.sleep(10)
                return 1
            }
        }
        val job = launch { Installation.install(root, "1", files({ endless })) }
        while (names().isNullOrEmpty()) kotlinx.coroutines.delay(5)
        job.cancelAndJoin()
        assertEquals(emptyList<String>(), names())
    }

    @Test
    fun `names cannot escape the folder`() = suspending {
        for (version in listOf("", "..", ".", "a/b", "../a", "a b")) {
            assertThrows<IllegalArgumentException> { Installation.install(root, version, files()) }
        }
        for (name in listOf("../x", "/x", "model/../../x", "", "model//x")) {
            val extended = files() + (name to { mug.inputStream() })
            assertThrows<IllegalArgumentException> { Installation.install(root, "1", extended) }
        }
        assertEquals(emptyList<String>(), names())
    }
}
