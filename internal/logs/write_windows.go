package logs

import "context"

// write writes line, waiting for room as long as ctx allows. Windows cannot wait
// for room alone: a write that is given up continues until the program ends, which
// is what the end of ctx means.
func (w *Writer) write(ctx context.Context, line []byte) error {
	done := make(chan error, 1)
	go func() {
		_, err := w.file.Write(line)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
