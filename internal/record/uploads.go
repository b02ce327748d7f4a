package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// uploads records which files of a track are in the bucket. It belongs to the goroutine of
// the uploader.
type uploads struct {
	place
	queue      *queue
	files      int       // media files that the bucket has
	init       int64     // init segment of the last file in the playlists; -1 before the first
	inits      int64     // init segments that the bucket has
	playlist   time.Time // when the playlist was last written; zero before
	byteRanges time.Time // when the byte-range playlist was last written
	dirty      bool      // the spool's playlists have more than the bucket's
	ended      bool      // the spool's playlists end with EXT-X-ENDLIST
}

// uploaded notes that the bucket has the first file: the playlists name it, and
// the spool deletes it. Where the playlists cannot grow, the file stays first. Nothing
// names a file that was given up while it was on its way.
func (u *uploads) uploaded(f file) error {
	if !u.queue.take(f) {
		return nil
	}
	newInit := f.init != u.init
	if err := u.list(appendFile(nil, f, newInit), appendCuts(nil, f, newInit)); err != nil {
		return err
	}
	u.count(f)
	u.queue.uploaded()
	if f.gap {
		return nil
	}
	if err := os.Remove(u.path(f.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.share.give(f.size)
	return nil
}

// count notes that the spool's playlists have a file that the bucket's lack.
func (u *uploads) count(f file) {
	u.init, u.dirty = f.init, true
	if !f.gap {
		u.files++
	}
}

// list appends to both of the spool's playlists, or to neither if the disk fails.
func (u *uploads) list(plain, ranges []byte) error {
	size, err := u.grow(playlistName, plain)
	if err != nil {
		return err
	}
	if _, err := u.grow(byteRangePlaylistName, ranges); err != nil {
		return errors.Join(err, os.Truncate(filepath.Join(u.folder, playlistName), size))
	}
	return nil
}

// size returns the size of the spool's playlist in bytes; 0 if it is unknown.
func (u *uploads) size(name string) int64 {
	info, err := os.Stat(filepath.Join(u.folder, name))
	if err != nil {
		return 0
	}
	return info.Size()
}

// grow appends all of a text to a playlist, or nothing. It returns how many bytes
// the playlist had before.
func (u *uploads) grow(name string, text []byte) (before int64, err error) {
	f, err := os.OpenFile(filepath.Join(u.folder, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, errors.Join(err, f.Close())
	}
	if _, err = f.Write(text); err != nil {
		err = errors.Join(err, f.Truncate(info.Size()))
	}
	return info.Size(), errors.Join(err, f.Close())
}

// finish ends the spool's playlists.
func (u *uploads) finish() error {
	if u.ended {
		return nil
	}
	if err := u.list([]byte(playlistEnd), []byte(playlistEnd)); err != nil {
		return err
	}
	u.ended = true
	return nil
}
