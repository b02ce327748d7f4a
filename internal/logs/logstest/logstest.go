// Package logstest keeps a log in memory, for tests.
package logstest

import (
	"bytes"
	"strings"
	"sync"
)

// A Buffer keeps what any number of goroutines write: a log, or the output of a process.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Line returns the first line that contains text, or "".
func (b *Buffer) Line(text string) string {
	for line := range strings.Lines(b.String()) {
		if line, whole := strings.CutSuffix(line, "\n"); whole && strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// Count returns how often text was written.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }
