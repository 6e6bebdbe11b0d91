package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"advlab/advlib/cachedir"
)

// maxDownload is the largest file that is downloaded, three times the largest that is known.
const maxDownload = 512 << 20

var client = &http.Client{Timeout: 30 * time.Minute}

// Progress is where a bar is drawn while a file is downloaded, and how long it takes still. It is the standard error
// where that is a terminal; nil means nowhere.
var Progress io.Writer = terminal(os.Stderr)

func terminal(f *os.File) io.Writer {
	if term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// download puts a file into the cache's folder and returns its path. Nothing is left there unless its sum is right.
func download(ctx context.Context, folder, file, sum string, urls []string) (string, error) {
	if _, err := cachedir.Dir("data", filepath.Base(folder)); err != nil {
		return "", err
	}
	path := filepath.Join(folder, file)
	var failed []error
	for _, url := range urls {
		err := fetch(ctx, url+file, path, sum)
		if err == nil {
			return path, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return "", errors.Join(failed...)
}

// fetch downloads a file beside its place, and puts it there when its sum is right.
func fetch(ctx context.Context, url, path, sum string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }() // nothing is left of a file that is not whole
	hash := sha256.New()
	to := io.MultiWriter(file, hash)
	if Progress != nil {
		bar := progressbar.NewOptions64(response.ContentLength, progressbar.OptionSetWriter(Progress), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(filepath.Base(path)), progressbar.OptionSetWidth(30),
			progressbar.OptionSetTheme(progressbar.ThemeASCII), progressbar.OptionThrottle(500*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		defer func() { _ = bar.Close() }()
		_ = bar.RenderBlank() // what cannot be drawn must not stop the download
		to = io.MultiWriter(to, bar)
	}
	n, err := io.Copy(to, io.LimitReader(response.Body, maxDownload+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s, after %d bytes: %w", url, n, err)
	case n > maxDownload:
		return fmt.Errorf("%s: longer than %d bytes", url, maxDownload)
	case hex.EncodeToString(hash.Sum(nil)) != sum:
		return fmt.Errorf("%s: its sha256 is %x, not %s", url, hash.Sum(nil), sum)
	}
	return file.CloseAtomicallyReplace()
}
