{{- define "coalmine.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "coalmine.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "coalmine.labels" -}}
{{ include "coalmine.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- /* Whether the pod talks to the Kubernetes API. */ -}}
{{- define "coalmine.api" -}}
{{- if or (eq .Values.source "kubernetes") .Values.argocd.application }}true{{ else }}false{{ end -}}
{{- end -}}

{{- define "coalmine.routes" -}}
{{ .Values.routes.existingConfigMap | default (printf "%s-routes" (include "coalmine.name" .)) }}
{{- end -}}

{{- /* Secrets by the directory they are mounted at, as JSON: an empty name is no secret. */ -}}
{{- define "coalmine.secrets" -}}
{{- $all := dict "ssh-key" .Values.git.sshKey "known-hosts" .Values.git.knownHosts "git-token" .Values.git.token
    "signing-key" .Values.git.signingKey "signing-passphrase" .Values.git.signingPassphrase "git-ca" .Values.git.ca
    "pull-request-token" .Values.git.pullRequestToken "ticket-key" .Values.ticketKey "viewer" .Values.tokens.viewer
    "labeler" .Values.tokens.labeler "operator" .Values.tokens.operator -}}
{{- range $at, $hook := .Values.notify.hooks -}}
{{- with $hook.signing -}}{{- $_ := set $all (printf "hook-%d" $at) . -}}{{- end -}}
{{- with $hook.urlSecret -}}{{- $_ := set $all (printf "hook-%d-url" $at) . -}}{{- end -}}
{{- end -}}
{{- $used := dict -}}
{{- range $name, $reference := $all -}}
{{- if $reference.secret -}}{{- $_ := set $used $name $reference -}}{{- end -}}
{{- end -}}
{{- toJson $used -}}
{{- end -}}

{{- define "coalmine.settings" -}}
{{- $used := include "coalmine.secrets" . | fromJson -}}
{{- $path := dict -}}
{{- range $name, $reference := $used -}}{{- $_ := set $path $name (printf "/etc/coalmine/secrets/%s/%s" $name $reference.key) -}}{{- end -}}
{{- if and (eq .Values.source "git") (not .Values.git.remote) -}}{{- fail "source: git needs git.remote" -}}{{- end -}}
{{- $settings := dict "source" .Values.source "listen" "0.0.0.0:8080" "admin" "0.0.0.0:9090" "routes" "/etc/coalmine/routes"
    "threads" .Values.threads "replicas" .Values.replicas "state" (dict "dir" "/var/lib/coalmine") "log" (dict "format" "json") -}}
{{- if eq .Values.source "kubernetes" -}}
{{- $_ := set $settings "kubernetes" (dict "namespace" .Release.Namespace "config_map" (include "coalmine.routes" .)) -}}
{{- end -}}
{{- if .Values.argocd.application -}}
{{- $_ := set $settings "argocd" (dict "application" .Values.argocd.application "namespace" .Values.argocd.namespace) -}}
{{- end -}}
{{- with index $path "ticket-key" -}}{{- $_ := set $settings "ticket_key_file" . -}}{{- end -}}
{{- $tokens := dict -}}
{{- range $role := list "viewer" "labeler" "operator" -}}
{{- with index $path $role -}}{{- $_ := set $tokens (printf "%s_file" $role) . -}}{{- end -}}
{{- end -}}
{{- if $tokens -}}{{- $_ := set $settings "tokens" $tokens -}}{{- end -}}
{{- if .Values.git.remote -}}
{{- $git := dict "remote" .Values.git.remote "branch" .Values.git.branch "path" .Values.git.path
    "author_name" .Values.git.authorName "author_email" .Values.git.authorEmail -}}
{{- range $name, $key := dict "ssh-key" "ssh_key" "known-hosts" "known_hosts" "git-token" "token_file" "git-ca" "ca_file"
    "signing-key" "signing_key" "signing-passphrase" "signing_passphrase_file" -}}
{{- with index $path $name -}}{{- $_ := set $git $key . -}}{{- end -}}
{{- end -}}
{{- with index $path "pull-request-token" -}}{{- $_ := set $git "pull_request" (dict "token_file" .) -}}{{- end -}}
{{- $_ := set $settings "git" $git -}}
{{- end -}}
{{- if .Values.notify.hooks -}}
{{- $hooks := list -}}
{{- range $at, $hook := .Values.notify.hooks -}}
{{- $one := pick $hook "url" "format" "events" -}}
{{- with index $path (printf "hook-%d" $at) -}}{{- $_ := set $one "secret_file" . -}}{{- end -}}
{{- with index $path (printf "hook-%d-url" $at) -}}{{- $_ := set $one "url_file" . -}}{{- end -}}
{{- $hooks = append $hooks $one -}}
{{- end -}}
{{- $_ := set $settings "notify" (dict "source" .Values.notify.source "hooks" $hooks) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $settings .Values.settings) -}}
{{- end -}}
