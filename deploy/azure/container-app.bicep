// A Container App with sidekey beside the app, in one replica.
//
//   az deployment group create --resource-group pay --template-file container-app.bicep \
//     --parameters environmentId=… identityId=… clientId=… appImage=… sidekeyImage=…
//
// The app's image runs as 1001:65532 (`USER 1001:65532`): the socket's group is 65532, and Container Apps sets no groups.
// The app finds the socket at /run/sidekey/sidekey.sock, and may start before it is there: it tries again.

param name string = 'orders'
param location string = resourceGroup().location

@description('Of the managed environment.')
param environmentId string

@description('Of the identity: the outputs `id` and `clientId` of identity.bicep.')
param identityId string
param clientId string

param appImage string
param sidekeyImage string

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: environmentId
    configuration: {
      secrets: [
        {
          // No secret, but the one way to give a container a file.
          name: 'sidekey-toml'
          value: loadTextContent('sidekey.toml')
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'app'
          image: appImage
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
          volumeMounts: [
            {
              volumeName: 'run'
              mountPath: '/run'
            }
          ]
        }
        {
          name: 'sidekey'
          image: sidekeyImage
          args: ['serve']
          env: [
            {
              name: 'SIDEKEY_SOURCE_MANAGED_IDENTITY'
              value: 'true'
            }
            {
              name: 'AZURE_CLIENT_ID'
              value: clientId
            }
          ]
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
          probes: [
            {
              type: 'Startup'
              httpGet: {
                path: '/readyz'
                port: 9733
              }
              periodSeconds: 2
              failureThreshold: 10
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readyz'
                port: 9733
              }
            }
            {
              type: 'Liveness'
              httpGet: {
                path: '/livez'
                port: 9733
              }
            }
          ]
          volumeMounts: [
            {
              volumeName: 'run'
              mountPath: '/run'
            }
            {
              volumeName: 'config'
              mountPath: '/etc/sidekey'
            }
          ]
        }
      ]
      volumes: [
        {
          name: 'run'
          storageType: 'EmptyDir'
        }
        {
          name: 'config'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'sidekey-toml'
              path: 'sidekey.toml'
            }
          ]
        }
      ]
    }
  }
}
