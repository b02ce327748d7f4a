// hls.js without alternate audio, subtitles, DRM and CMCD; it ships no types of its own.
declare module 'hls.js/light' {
  export { default } from 'hls.js'
  export * from 'hls.js'
}
