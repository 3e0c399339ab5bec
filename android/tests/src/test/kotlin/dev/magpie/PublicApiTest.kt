package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.lang.reflect.Constructor
import java.lang.reflect.Executable
import java.lang.reflect.Method
import java.lang.reflect.Modifier
import dev.magpie.internal.Engine as RustEngine

/** What apps see is written by hand; what is generated stays inside. */
class PublicApiTest {
    @Test
    fun `generated code is in its own package`() {
        // uniffi passes over configuration that does not match, and then takes another name.
        assertEquals("dev.magpie.internal", RustEngine::class.java.packageName)
    }

    @Test
    fun `no generated type is part of the public API`() {
        val folder = File(SearchEngine::class.java.protectionDomain.codeSource.location.toURI())
        val names = folder.walk().filter {
            it.extension == "class"
        }.map { it.relativeTo(folder).path.removeSuffix(".class").replace(File.separatorChar, '.') }
        val classes = names.map { Class.forName(it, false, javaClass.classLoader) }.filter { it.isSeen() }.toList()
        assertTrue(SearchEngine::class.java in classes && Filter::class.java in classes, "$classes")
        val seen = classes.flatMap { type ->
            (type.methods.toList() + type.constructors.toList()).filter { it.isSeen(type) }
        }
        assertTrue(seen.size > 100, "${seen.size}")
        assertEquals(emptyList<Executable>(), seen.filter { "dev.magpie.internal" in it.toGenericString() })
    }

    private fun Class<*>.isSeen(): Boolean =
        // Files of functions for the module itself hold only what Kotlin calls internal, which is public in bytecode.
        Modifier.isPublic(modifiers) && simpleName !in setOf("CallsKt", "BuffersKt", "ResultsKt", "InfoKt", "Kept")

    /** Internal functions are public in bytecode, under names that Kotlin mangles with a dollar sign. */
    private fun Executable.isSeen(type: Class<*>): Boolean = when (this) {
        is Method -> declaringClass == type && '$' !in name && !isSynthetic
        is Constructor<*> -> !isSynthetic
    }
}
