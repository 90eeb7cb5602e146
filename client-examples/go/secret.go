// Command secret reads secrets from sidekey: secret VAULT/NAME|NAME…, or without arguments one for each line of stdin.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var addr = cmp.Or(os.Getenv("SIDEKEY_ADDR"), "/run/sidekey/sidekey.sock")
var host, isTCP = strings.CutPrefix(addr, "http://") // without that, host is the socket's path
var network = map[bool]string{true: "tcp", false: "unix"}[isTCP]
var base = "http://" + map[bool]string{true: host, false: "sidekey"}[isTCP]
var timeout, _ = time.ParseDuration(cmp.Or(os.Getenv("SIDEKEY_TIMEOUT"), "20") + "s")
var client = &http.Client{Timeout: timeout, Transport: &http.Transport{DialContext: dial}}

func dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, host)
}

// Problem is what sidekey answers in the place of a value: JSON, after a 409 with "candidates" to choose from.
type Problem struct {
	Status int
	Body   []byte
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s", p.Status, p.Body) }

// Secret is the value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network.
func Secret(ctx context.Context, reference string) ([]byte, error) {
	path := "/v1/secrets/" + url.PathEscape(reference)
	if vault, name, found := strings.Cut(reference, "/"); found {
		path = "/v1/vaults/" + url.PathEscape(vault) + "/secrets/" + url.PathEscape(name)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if file := os.Getenv("SIDEKEY_TOKEN_FILE"); err == nil && file != "" {
		var token []byte
		token, err = os.ReadFile(file)
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return nil, &Problem{response.StatusCode, body}
	}
	return body, err
}
