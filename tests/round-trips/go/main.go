// Reads a file as its readers in Go do, and prints NAME=VALUE and a NUL for each variable.
//
//	go-readers KIND FILE
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/joho/godotenv"
	yaml "go.yaml.in/yaml/v3"
	core "k8s.io/api/core/v1"
	kubernetes "sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		return
	}
	if os.Args[1] == "each" {
		if err := each(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	found, err := read(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range found {
		fmt.Printf("%s=%s\x00", name, value)
	}
}

// What godotenv makes of each text of a list, as JSON; null where it refuses.
func each(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var texts []string
	if err := json.Unmarshal(text, &texts); err != nil {
		return err
	}
	var all []map[string]string
	for _, text := range texts {
		found, err := godotenv.Unmarshal(text)
		if err != nil {
			found = nil
		}
		all = append(all, found)
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func read(kind, path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	switch kind {
	case "docker":
		lines, err := kvfile.Parse(path, nil)
		for _, line := range lines {
			name, value, _ := strings.Cut(line, "=")
			found[name] = value
		}
		return found, err
	case "godotenv":
		return godotenv.Read(path)
	case "compose":
		return compose.Read(path)
	case "yaml":
		return found, yaml.Unmarshal(text, &found)
	case "secret":
		// What kubectl and the API server make of a manifest.
		var secret core.Secret
		if err := kubernetes.UnmarshalStrict(text, &secret); err != nil {
			return nil, err
		}
		if secret.Kind != "Secret" || secret.APIVersion != "v1" || secret.Name != "app" || secret.Type != core.SecretTypeOpaque {
			return nil, fmt.Errorf("another manifest: %v", secret.ObjectMeta)
		}
		for name, value := range secret.Data {
			found[name] = string(value)
		}
		return found, nil
	default:
		return nil, fmt.Errorf("no reader of %s", kind)
	}
}
