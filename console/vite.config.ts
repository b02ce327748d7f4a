import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/** Puts a .gz beside each file of the bundle; the server sends it as it is. */
const gzip: Plugin = {
  name: 'gzip',
  writeBundle({ dir = '.' }, bundle) {
    for (const file of Object.values(bundle)) {
      const path = join(dir, `${file.fileName}.gz`)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, gzipSync(file.type === 'chunk' ? file.code : file.source, { level: 9 }))
    }
  },
}

export default defineConfig({
  base: '/console/',
  resolve: {
    alias: { 'millrace-player': fileURLToPath(new URL('../player/src/index.ts', import.meta.url)) },
    dedupe: ['hls.js'], // that of the console, also for ../player
  },
  build: {
    outDir: '../internal/console/dist',
    emptyOutDir: true, // its .gitkeep comes back from public/
    assetsInlineLimit: 0, // the content policy has no data: sources
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 700,
    rolldownOptions: { input: ['index.html', 'watch.html'] },
  },
  server: { proxy: { '^/(?!console/)': 'http://127.0.0.1:8080', '/console/config.json': 'http://127.0.0.1:8080' } },
  plugins: [gzip],
  test: { include: ['src/**/*.test.ts', '../player/src/**/*.test.ts'] },
})
