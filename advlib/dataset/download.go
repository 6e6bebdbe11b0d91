package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"advlab/advlib/cachedir"
)

// maxDownload is the largest file that is downloaded, four times the largest that is known.
const maxDownload = 128 << 20

var client = &http.Client{Timeout: 10 * time.Minute}

// download puts a file into the cache's folder and returns its path. Nothing is left there unless its sum is right.
func (s source) download(ctx context.Context, folder, file string) (string, error) {
	if _, err := cachedir.Dir("data", s.folder); err != nil {
		return "", err
	}
	path := filepath.Join(folder, file)
	want := s.sums[strings.TrimSuffix(file, ".gz")]
	var failed []error
	for _, url := range s.urls {
		content, err := fetch(ctx, url+file)
		if err == nil {
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
				err = fmt.Errorf("%s: its sha256 is %x, not %s", url+file, sum, want)
			}
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		return path, renameio.WriteFile(path, content, 0o600)
	}
	return "", errors.Join(failed...)
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxDownload+1))
	if err == nil && len(content) > maxDownload {
		err = fmt.Errorf("%s: longer than %d bytes", url, maxDownload)
	}
	return content, err
}
