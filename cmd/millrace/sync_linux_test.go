package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/millrace/millrace/internal/bucket"
)

// What identifies this server is on the disk before its file has its name, and so is the
// name before the file counts as written. Neither a device nor a folder of /proc can be
// synced, which shows that it is tried; and a folder that cannot be opened cannot be.
func TestIdentityIsSynced(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "node")
	if err := os.Symlink(os.DevNull, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("x")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("writeFile = %v where the file cannot be synced", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has its name: %v", err)
	}
	if err := bucket.SyncFolder("/proc/self"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("SyncFolder = %v of a folder that cannot be synced", err)
	}
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	asNobody(t, folder, func() {
		if err := os.Chmod(folder, 0o300); err != nil {
			t.Error(err)
		}
		if err := writeFile(path, []byte("x")); !errors.Is(err, syscall.EACCES) {
			t.Errorf("writeFile = %v where the folder cannot be opened to be synced", err)
		}
		if err := os.Chmod(folder, 0o700); err != nil {
			t.Error(err)
		}
		if err := writeFile(path, []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// asNobody calls do on a thread to which permissions apply, also where the test is run by
// root; the folder is that user's. The thread ends then.
func asNobody(t *testing.T, folder string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			const nobody = 65534
			if err := errors.Join(os.Chown(folder, nobody, nobody), os.Chmod(filepath.Dir(folder), 0o711)); err != nil {
				t.Error(err)
			}
			runtime.LockOSThread() // and never unlocks it: the thread is not used again
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Error(err)
			}
		}
		do()
	}()
	<-done
}
