package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import java.io.File

/** The README's program: the build compiles it, and these tests run it. */
class ReadmeTest {
    /** Runs it in its own process and returns the exit status and the printed lines. */
    private fun run(libraries: String): Pair<Int, List<String>> {
        val arguments = listOf(Demo.pack, Demo.catalog, Demo.root.resolve("cli/demo/queries/mug-01.jpg")).map {
            it.path
        }
        val java = File(System.getProperty("java.home")).resolve("bin/java").path
        val options = listOf("-Djna.library.path=$libraries", "-classpath", System.getProperty("java.class.path"))
        val builder = ProcessBuilder(listOf(java) + options + "MainKt" + arguments).redirectErrorStream(true)
        // Cargo sets this variable for its subprocesses, and the library would be found through it.
        builder.environment().remove("LD_LIBRARY_PATH")
        val process = builder.start()
        val printed = process.inputStream.bufferedReader().readText().trim().lines()
        return process.waitFor() to printed
    }

    @Test
    fun `the program in the README finds a mug`() {
        val (status, printed) = run(System.getProperty("jna.library.path"))
        assertEquals(0, status, printed.joinToString("\n"))
        assertEquals(5, printed.size, printed.joinToString("\n"))
        assertTrue(printed[0].endsWith("Tall tapered mug in sea-green stoneware"), printed[0])
    }

    @Test
    fun `without a library for the machine, the exception explains it`(@TempDir empty: File) {
        val (status, printed) = run(empty.path)
        assertEquals(1, status)
        val line = printed.first { "MagpieException" in it }
        assertTrue("Unsupported" in line && "arm64-v8a and x86_64" in line && "jna.library.path" in line, line)
    }
}
