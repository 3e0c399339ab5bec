package dev.magpie

import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.io.InputStream

/** A catalogue is installed, updated, and searched, from releases that `magpie publish` wrote. */
class CatalogTest {
    @TempDir
    lateinit var root: File

    private val catalog by lazy { Catalog.open(root.resolve("catalog")) }
    private val mug = Demo.photo("mug-01.jpg")

    private suspend fun SearchEngine.price() = search(mug).listings.first().let { it.id to it["price"] }

    @Test
    fun `an open engine changes to the new price, and a delta is all that is downloaded`() = suspending {
        assertNull(catalog.current())
        assertThrows<MagpieException.Catalog> { SearchEngine.open(Demo.pack, catalog) }
        val first = catalog.update(Releases.first)
        assertEquals(Triple("demo", 1L, 0), Triple(first.name, first.sequence, first.deltas))
        assertEquals(first, catalog.current())
        SearchEngine.open(Demo.pack, catalog).use { engine ->
            assertEquals("mug-01" to "18.00", engine.price())
            assertEquals(first, engine.installed)
            ReleaseHost(Releases.second).use { host ->
                val steps = catalog.steps(host)
                val second = (steps.last() as UpdateProgress.Installed).also { assertTrue(it.isNew) }.catalog
                val total = steps.filterIsInstance<UpdateProgress.Downloading>().map { it.total }.distinct().single()
                assertEquals(total, host.sent.get())
                assertTrue(host.asked.none { Releases.base.name in it }, "${host.asked}")
                assertEquals(2L to 1, second.sequence to second.deltas)
                assertEquals("mug-01" to "18.00", engine.price())
                assertEquals(second, engine.replaceCatalog(catalog))
                assertEquals(second, engine.installed)
                assertEquals("mug-01" to "15.00", engine.price())
                assertEquals(second, catalog.verify(Releases.trust))
                // Again: there is nothing to do but to look.
                assertEquals(UpdateProgress.Installed(second, isNew = false), catalog.update(host))
                assertEquals(total, host.sent.get())
            }
        }
    }

    @Test
    fun `searches run while the catalogue changes`() = suspending {
        catalog.update(Releases.first)
        SearchEngine.open(Demo.pack, catalog).use { engine ->
            val searches = List(2) {
                launch {
                    while (true) assertTrue(engine.price().second in setOf("18.00", "15.00"))
                }
            }
            catalog.update(Releases.second)
            engine.replaceCatalog(catalog)
            assertEquals("15.00", engine.price().second)
            searches.forEach { it.cancelAndJoin() }
        }
    }

    @Test
    fun `an update that is cancelled goes on where it stopped`() = suspending {
        val half = Releases.base.length().toInt() / 2
        // Sends half of the base and then waits.
        ReleaseHost(Releases.first) { exchange, file ->
            if (file.parentFile.name == "files") {
                exchange.send(file, most = half)
                Thread.sleep(60_000)
            }
            file.parentFile.name == "files"
        }.use { slow ->
            catalog.update(ReleaseServer(slow.url), Releases.trust, Releases.options)
                .first { it is UpdateProgress.Downloading && it.received == half.toLong() }
        }
        assertNull(catalog.current())
        ReleaseHost(Releases.first).use { host ->
            Catalog.open(catalog.folder).update(host)
            assertTrue("files/${Releases.base.name} bytes=$half-" in host.asked, "${host.asked}")
            assertEquals(Releases.base.length() - half, host.sent.get())
        }
        assertEquals(1L, catalog.verify(Releases.trust).sequence)
    }

    @Test
    fun `new keys are followed, and stay trusted`() = suspending {
        catalog.update(Releases.second)
        assertEquals(3L, catalog.update(Releases.rotated).sequence)
        assertEquals(3L, catalog.verify(Releases.trust).sequence)
        ReleaseHost(Releases.rotated).use { host ->
            catalog.update(host)
            assertFalse(host.asked.any { it.startsWith("keys") }, "${host.asked}")
            // The old key is of no use any more.
            host.folder = Releases.second
            assertThrows<MagpieException.Untrusted> { catalog.update(host) }
        }
    }

    @Test
    fun `another model comes with its catalogue, and needs a new engine`() = suspending {
        catalog.update(Releases.second)
        SearchEngine.open(Demo.pack, catalog).use { engine ->
            assertTrue(catalog.update(Releases.fast).hasPack)
            assertThrows<MagpieException.OtherModel> { engine.replaceCatalog(catalog) }
            assertEquals("mug-01" to "15.00", engine.price())
            SearchEngine.open(Demo.pack, catalog).use { other ->
                assertTrue(other.info.modelId != engine.info.modelId)
                assertEquals("mug-01" to "15.00", other.price())
            }
        }
    }

    @Test
    fun `the base in the app's assets is searched first, is not downloaded, and is copied only while it is needed`() =
        suspending {
            var opened = 0
            val base = BundledBase(Releases.base.name) {
                opened++
                Releases.base.inputStream()
            }
            suspend fun install(pack: File = Demo.pack) =
                AppFiles.install(root.resolve("app"), catalog, pack.files(), base)
            repeat(2) {
                install().open(catalog).use { assertEquals("mug-01" to "18.00", it.price()) }
            }
            assertEquals(1, opened)
            val files = install()
            ReleaseHost(Releases.second).use { host ->
                catalog.update(host, Releases.options.copy(bundledCatalog = files.baseFile))
                assertTrue(host.asked.none { Releases.base.name in it }, "${host.asked}")
            }
            val after = install()
            assertNull(after.baseFile)
            assertEquals(listOf(files.modelFolder), root.resolve("app").listFiles()?.toList())
            after.open(catalog).use { assertEquals("mug-01" to "15.00", it.price()) }
            // What is installed is cut short: there is the base until it is repaired.
            catalog.folder.resolve("files").listFiles()?.forEach { it.writeText("") }
            val damaged = install()
            assertThrows<MagpieException.Catalog> { SearchEngine.open(damaged.modelFolder, catalog) }
            damaged.open(catalog).use { assertEquals("mug-01" to "18.00" to null, it.price() to it.installed) }
            catalog.update(Releases.second, Releases.options.copy(repair = true))
            assertNull(install().baseFile)
            // The app is updated and has another model: what is installed does not fit it, and neither does this base.
            val other = install(Releases.fastPack)
            assertTrue(other.modelFolder != files.modelFolder && other.baseFile?.isFile == true)
            assertThrows<MagpieException.Model> { other.open(catalog) }
        }

    private fun File.files(): Map<String, () -> InputStream> =
        listOf("manifest.json", "model.onnx").associateWith { name -> { resolve(name).inputStream() } }

    @Test
    fun `app files that cannot be used leave nothing behind`() = suspending {
        val folder = root.resolve("app")
        val bad = BundledBase("bad") { "no shard".byteInputStream() }
        assertThrows<MagpieException.Catalog> { AppFiles.install(folder, catalog, Demo.pack.files(), bad) }
        val model = Demo.pack.files() + ("model.onnx" to { "no network".byteInputStream() })
        assertThrows<MagpieException.Model> { AppFiles.install(root.resolve("other"), catalog, model) }
        assertEquals(emptyList<File>(), root.resolve("other").listFiles()?.toList())
        assertEquals(1, folder.listFiles()?.size)
        val outside = BundledBase("../x") { "".byteInputStream() }
        assertThrows<IllegalArgumentException> { AppFiles.install(folder, catalog, Demo.pack.files(), outside) }
    }

    @Test
    fun `a large download waits for an unmetered network, and any for a network`() = suspending {
        ReleaseHost(Releases.first).use { host ->
            val most = Releases.base.length() - 1
            val metered = Releases.options.copy(connectivity = { Connectivity.METERED }, mostMeteredBytes = most)
            assertEquals(listOf(UpdateProgress.Postponed(most + 1)), catalog.steps(host, metered))
            assertEquals(listOf("manifest"), host.asked.toList())
            val offline = Releases.options.copy(connectivity = { Connectivity.OFFLINE })
            assertEquals(UpdateProgress.Postponed(0), catalog.update(host, offline))
            assertEquals(1, host.asked.size)
            val enough = metered.copy(mostMeteredBytes = most + 1)
            assertTrue(catalog.update(host, enough) is UpdateProgress.Installed)
        }
    }

    @Test
    fun `space is asked for before anything is downloaded`() = suspending {
        ReleaseHost(Releases.first).use { host ->
            val greedy = Releases.options.copy(keepFree = Long.MAX_VALUE)
            assertThrows<MagpieException.NoSpace> { catalog.update(host, greedy) }
            assertEquals(listOf("manifest"), host.asked.toList())
        }
    }

    @Test
    fun `damage is found and repaired`() = suspending {
        catalog.update(Releases.first)
        val file = catalog.folder.resolve("files").resolve(Releases.base.name)
        val bytes = file.readBytes()
        file.writeBytes(bytes.also { it[bytes.size - 1]++ })
        assertThrows<MagpieException.Catalog> { catalog.verify() }
        catalog.update(Releases.first, Releases.options.copy(repair = true))
        assertEquals(1L, catalog.verify().sequence)
    }
}
