package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File

/** The README's program: the build compiles it, and it does what the README says. */
class ReadmeTest {
    @Test
    fun `the program in the README finds a mug`() {
        val run = ProcessBuilder(
            File(System.getProperty("java.home")).resolve("bin/java").path,
            "-Djna.library.path=${System.getProperty("jna.library.path")}",
            "-classpath",
            System.getProperty("java.class.path"),
            "MainKt",
            Demo.pack.path,
            Demo.catalog.path,
            Demo.root.resolve("cli/demo/queries/mug-01.jpg").path,
        ).redirectErrorStream(true).start()
        val printed = run.inputStream.bufferedReader().readText().trim().lines()
        assertEquals(0, run.waitFor(), printed.joinToString("\n"))
        assertEquals(5, printed.size, printed.joinToString("\n"))
        assertTrue(printed[0].endsWith("Tall tapered mug in sea-green stoneware"), printed[0])
    }
}
