package transcode

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	maxMemory = 3 << 30 // bytes of data and stacks; a ladder of 1080p60 takes 0.6 GB
	niceness  = 2       // behind the server, which must not wait for ffmpeg
)

// startConfined starts p so that it dies with this thread, may write to its
// pipes and to no file, takes no more memory than is meant for it, and, where
// the kernel lets us, sees no network. It has nothing from outside to read yet,
// so the limits come in time.
func startConfined(p *exec.Cmd) error {
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.Cancel = func() error { return syscall.Kill(-p.Process.Pid, syscall.SIGKILL) } // with what a script in its place has started
	if canUnshare() {
		withoutNetwork(p.SysProcAttr)
	}
	if err := p.Start(); err != nil {
		return err
	}
	pid := p.Process.Pid
	for resource, max := range map[int]uint64{unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_CORE: 0} {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: max, Max: max}, nil); err != nil {
			p.Process.Kill()
			p.Wait()
			return fmt.Errorf("limit %d of its resource %d: %w", max, resource, err)
		}
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, niceness) // best effort
	return nil
}

// withoutNetwork puts a process into a network namespace of its own, which has
// no interface that is up.
func withoutNetwork(a *syscall.SysProcAttr) {
	a.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
}

// canUnshare reports whether this kernel and whatever container we are in allow
// namespaces; it is tried once.
var canUnshare = sync.OnceValue(func() bool {
	p := exec.Command("true")
	p.SysProcAttr = &syscall.SysProcAttr{}
	withoutNetwork(p.SysProcAttr)
	return p.Run() == nil
})
