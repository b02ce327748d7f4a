import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { defineConfig, type Plugin } from 'vite'

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
  build: {
    outDir: '../internal/console/dist',
    emptyOutDir: true, // its .gitkeep comes back from public/
    assetsInlineLimit: 0, // the content policy has no data: sources
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { '^/(?!console/)': 'http://127.0.0.1:8080', '/console/config.json': 'http://127.0.0.1:8080' } },
  plugins: [gzip],
})
