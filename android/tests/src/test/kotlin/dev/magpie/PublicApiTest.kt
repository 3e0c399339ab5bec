package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.lang.reflect.Constructor
import java.lang.reflect.Executable
import java.lang.reflect.Method
import java.lang.reflect.Modifier
import kotlin.reflect.KVisibility
import kotlin.reflect.jvm.kotlinFunction
import dev.magpie.internal.Engine as RustEngine

/** The public API is written by hand and exposes no generated type. */
class PublicApiTest {
    @Test
    fun `generated code is in its own package`() {
        // uniffi silently ignores configuration for an unknown crate, and then uses another package name.
        assertEquals("dev.magpie.internal", RustEngine::class.java.packageName)
    }

    @Test
    fun `no generated type is part of the public API`() {
        val folder = File(SearchEngine::class.java.protectionDomain.codeSource.location.toURI())
        val files = folder.walk().filter { it.extension == "class" }
        val names = files.map { it.relativeTo(folder).path.removeSuffix(".class").replace(File.separatorChar, '.') }
        val classes = names.map { Class.forName(it, false, javaClass.classLoader) }.filter { it.isSeen() }.toList()
        val methods = classes.flatMap { type -> type.declaredMethods.filter { it.isSeen() } }
        val constructors = classes.flatMap { type -> type.declaredConstructors.filter { it.isSeen() } }
        val seen = methods + constructors
        val owners = seen.map { it.declaringClass.simpleName }.toSet()
        assertTrue(owners.containsAll(listOf("SearchEngine", "Filter", "Frame", "LiveSearchKt")), "$owners")
        assertEquals(emptyList<Executable>(), seen.filter { "dev.magpie.internal" in it.toGenericString() })
    }

    /** Kotlin's visibility counts: internal members are public in bytecode. File classes have no Kotlin visibility. */
    private fun Class<*>.isSeen() = Modifier.isPublic(modifiers) &&
        (simpleName.endsWith("Kt") || (!isSynthetic && kotlin.visibility == KVisibility.PUBLIC))

    private fun Method.isSeen() = !isSynthetic && kotlinFunction?.visibility == KVisibility.PUBLIC

    private fun Constructor<*>.isSeen() = !isSynthetic && kotlinFunction?.visibility == KVisibility.PUBLIC
}
